/** What travels in every scenario: 100 bytes of JSON with a number that says which message it is. */

/** Numbers have eight digits, the first of them this one, so that all messages are of one length. */
export const FIRST_NUMBER = 10_000_000;

export const EVENT = "message";

export interface Payload {
  readonly n: string;
  readonly text: string;
}

const TEXT = "x".repeat(100 - JSON.stringify({ n: String(FIRST_NUMBER), text: "" }).length);

export function payload(number: number): Payload {
  return { n: String(FIRST_NUMBER + number), text: TEXT };
}

/** The room of a message that goes to rooms in turn. */
export function roomOf(number: number, rooms: number): number {
  return number % rooms;
}

/** Of a set of numbers the sum of their marks tells whether each is there exactly once, in whatever order. */
export function mark(number: number): number {
  return Math.imul(number + 1, 0x9e3779b1) >>> 0;
}
