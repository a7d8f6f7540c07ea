import { z } from "zod";

/** A browser, in however many tabs. */
export interface Person {
  readonly id: string;
  readonly name: string;
}

/** No control characters, private or lone ones, no line ends, and nothing that turns the direction of text. */
const PRINTABLE = /^[^\p{Cc}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+$/u;
/** Some letter, digit or sign that is not blank. */
const VISIBLE = /(?![\p{Default_Ignorable_Code_Point}\u2800])[\p{L}\p{N}\p{P}\p{S}]/u;

export const Name = z.string().trim().min(1).max(40).regex(PRINTABLE).regex(VISIBLE);
