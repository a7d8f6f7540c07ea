// Times as people read them, in the browser's own language and zone.

import { create } from "./dom.js";

const time = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, {
  weekday: "long",
  day: "numeric",
  month: "long",
  year: "numeric",
});

const DAY_MS = 24 * 60 * 60 * 1000;

/** A `<time>` that shows hour and minute, and the whole date to who asks. */
export function timeView(at) {
  const date = new Date(at);
  return create("time", { datetime: date.toISOString(), title: full.format(date) }, time.format(date));
}

/** One string per calendar day, to notice that a new one began. */
export function dayOf(at) {
  return new Date(at).toDateString();
}

export function dayLabel(at) {
  if (dayOf(at) === dayOf(Date.now())) return "Today";
  if (dayOf(at) === dayOf(Date.now() - DAY_MS)) return "Yesterday";
  return day.format(new Date(at));
}

/** "8 s", "3 min", "2 h" */
export function durationText(ms) {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
