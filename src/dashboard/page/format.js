// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** `9,412`, `1.2M`. */
export function number(value) {
  return Math.abs(value) < 100_000 ? whole.format(Math.round(value)) : compact.format(value);
}

/** Per second: `0`, `0.3`, `12`, `4,120`. */
export function rate(value) {
  if (value === 0) return "0";
  return value < 9.95 ? value.toFixed(1) : number(value);
}

export function bytes(value) {
  if (value < 1024) return `${Math.round(value)} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let size = value / 1024;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

/** `4 s`, `12 min`, `3 h 20 min`, `5 d`; never broken in two. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 60) return `${seconds}\u00a0s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}\u00a0min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours}\u00a0h\u00a0${minutes % 60}\u00a0min` : `${hours}\u00a0h`;
  return `${Math.floor(hours / 24)}\u00a0d`;
}

/** How long something took: `3 ms`, `1.4 s`, `2 min`. */
export function took(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1_000).toFixed(1)} s` : duration(ms);
}

export function clock(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}

/** With the date, unless it is today. */
export function moment(at) {
  const date = new Date(at);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString("en-CA")} `;
  return `${day}${date.toLocaleTimeString("en-GB")}`;
}

/** What people call a node: process and host. */
export function nodeName({ pid, host }) {
  return `${pid}@${host}`;
}
