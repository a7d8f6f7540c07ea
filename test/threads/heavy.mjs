/** What the tests run in threads: a file as Node loads it. */
import { isMainThread, threadId } from "node:worker_threads";

export const NOT_A_FUNCTION = 7;

/** @param {number} x @param {number} y */
export function add(x, y) {
  return x + y;
}

export async function where() {
  return { isMainThread, threadId };
}

/** @param {Map<string, Date>} map */
export function oldest(map) {
  return new Date(Math.min(...[...map.values()].map(Number)));
}

/**
 * Counts for ever.
 *
 * @param {Int32Array} counter
 */
export function spin(counter) {
  for (;;) Atomics.add(counter, 0, 1);
}

/**
 * Notes its name in order, then waits for the gate.
 *
 * @param {Int32Array} gate - 0: closed, 1: how many have begun
 * @param {string} name
 */
export function hold(gate, name) {
  Atomics.add(gate, 1, 1);
  Atomics.wait(gate, 0, 0);
  return name;
}

class OutOfCheese extends Error {
  code = "no_cheese";
}

export function fail() {
  throw new OutOfCheese("none left", { cause: new RangeError("0 wheels") });
}

/** @param {unknown} value */
export async function throwValue(value) {
  throw value;
}

export function throwFunction() {
  throw () => {};
}

export function returnFunction() {
  return { f: () => {} };
}

/** @param {number} length */
export function bytes(length) {
  const made = new Uint8Array(length).fill(7);
  inside().transfers.set(made, [made.buffer]);
  last = made;
  return made;
}

let last = new Uint8Array();

/** What this thread still has of the last `bytes`. */
export function left() {
  return last.length;
}

export function bytesThatAreGone() {
  const gone = new Uint8Array(1_000);
  structuredClone(gone, { transfer: [gone.buffer] });
  inside().transfers.set(gone, [gone.buffer]);
  return gone;
}

/** @param {Uint8Array} bytes */
export function sum(bytes) {
  return bytes.reduce((all, byte) => all + byte, 0);
}

/** @param {number} count */
export function countUp(count) {
  let heard = 0;
  for (let i = 0; i < count; i++) if (inside().report(i)) heard += 1;
  return heard;
}

/** @param {Int32Array} counter */
export function reportAndSpin(counter) {
  inside().report("begun");
  spin(counter);
}

/** @param {Int32Array} counter */
export function countLater(counter) {
  setTimeout(() => Atomics.add(counter, 0, 1), 20);
}

/** @param {number} code */
export function exit(code) {
  process.exit(code);
}

export function explodeLater() {
  setTimeout(() => {
    throw new Error("in a timer");
  });
  return new Promise(() => {});
}

export function eatMemory() {
  const eaten = [];
  // Little by little: Node ends the process, not the thread, when too much is wanted at once.
  for (;;) eaten.push({ eaten: eaten.length });
}

/** What `report` and `transfer` of `sluice/threads` stand on: from its sources Node 20 could not load them. */
function inside() {
  return globalThis[Symbol.for("sluice.threads")];
}

/** @param {{ steps: number }} args */
export function stepwise({ steps }) {
  for (let done = 0; done < steps; done++) inside().report({ done, total: steps, note: `step ${done}` });
  return { steps, isMainThread };
}

export function endless() {
  inside().report({ done: 1 });
  for (;;);
}
