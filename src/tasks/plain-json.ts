import { Unencodable } from "../index.ts";

/** Deeper values are refused: nothing sane is, and a circle always is. */
const MAX_DEPTH = 200;
/** Values that share parts grow when they become text: a list of twice the same list, 40 times over, has no end. */
const MAX_PARTS = 1_000_000;

interface Seen {
  parts: number;
}

/**
 * A value as JSON, if JSON leaves it as it is: what comes back is equal. Properties that are undefined are
 * left out, as everywhere; anything else that JSON would change or drop is refused.
 *
 * @param what - begins the path in the message, e.g. "args"
 * @throws Unencodable with the path of the first thing that JSON would change
 */
export function plainJson(value: unknown, what: string): string | undefined {
  if (value === undefined) return undefined;
  check(value, what, 0, { parts: 0 });
  return JSON.stringify(value);
}

function check(value: unknown, path: string, depth: number, seen: Seen): void {
  seen.parts += 1;
  if (seen.parts > MAX_PARTS) throw refused(path, "too much", `more than ${MAX_PARTS} values; send a link`);
  switch (typeof value) {
    case "string":
    case "boolean":
      return;
    case "number":
      if (Number.isFinite(value) && !Object.is(value, -0)) return;
      throw refused(path, Object.is(value, -0) ? "-0" : String(value), "would become another number or null");
    case "object":
      if (value === null) return;
      if (depth >= MAX_DEPTH) throw refused(path, "nested too deeply", "or in a circle");
      if (Array.isArray(value)) return checkList(value, path, depth, seen);
      return checkObject(value, path, depth, seen);
    default:
      throw refused(path, typeof value === "bigint" ? "a BigInt" : `a ${typeof value}`, hintFor(value));
  }
}

function checkList(list: readonly unknown[], path: string, depth: number, seen: Seen): void {
  for (let i = 0; i < list.length; i++) {
    // A hole, or undefined, would become null.
    if (list[i] === undefined) throw refused(`${path}[${i}]`, "undefined", "would become null; use null");
    check(list[i], `${path}[${i}]`, depth + 1, seen);
  }
}

function checkObject(value: object, path: string, depth: number, seen: Seen): void {
  const prototype: unknown = Object.getPrototypeOf(value);
  // Of whichever realm: objects from a thread or a sandbox have an Object.prototype of their own.
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw refused(path, `a ${value.constructor?.name || "class instance"}`, hintFor(value));
  }
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") {
    throw refused(path, "an object with toJSON", "would become something else");
  }
  for (const [key, part] of Object.entries(value)) {
    if (part !== undefined) check(part, at(path, key), depth + 1, seen);
  }
}

function at(path: string, key: string): string {
  const shown = key.length > 40 ? `${key.slice(0, 40)}…` : key;
  return /^[A-Za-z_$][\w$]*$/.test(shown) ? `${path}.${shown}` : `${path}[${JSON.stringify(shown)}]`;
}

function hintFor(value: unknown): string {
  if (value instanceof Date) return "would become text; send date.toISOString() or date.getTime()";
  if (value instanceof Map) return "would become {}; send [...map] or Object.fromEntries(map)";
  if (value instanceof Set) return "would become {}; send [...set]";
  if (value instanceof Error) return "would become {}; send its message";
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return "send base64, or a link to the bytes";
  if (typeof value === "bigint") return "send its text";
  return "JSON has no such thing; send plain objects, lists, text, numbers, true, false and null";
}

function refused(path: string, what: string, why: string): Unencodable {
  return new Unencodable(`${path} is ${what}, which JSON would not carry as it is: ${why}`);
}
