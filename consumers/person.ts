import { z } from "zod";

/** A browser, in however many tabs. */
export interface Person {
  readonly id: string;
  readonly name: string;
}

/** No control characters, private or lone ones, and nothing that turns the direction of text. */
const PRINTABLE = /^[^\p{Cc}\p{Co}\p{Cs}\u202a-\u202e\u2066-\u2069]+$/u;

export const Name = z.string().trim().min(1).max(40).regex(PRINTABLE);
