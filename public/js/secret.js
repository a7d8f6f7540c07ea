// What only this browser and the server know: it makes all tabs of the browser one person.

import { randomId } from "./random-id.js";

const KEY = "sluice.secret";
const MIN_LENGTH = 20;
const made = randomId();

export function browserSecret() {
  try {
    const stored = localStorage.getItem(KEY) ?? "";
    if (stored.length >= MIN_LENGTH) return stored;
    localStorage.setItem(KEY, made);
  } catch {
    // Storage is switched off: each tab is a person of its own.
  }
  return made;
}
