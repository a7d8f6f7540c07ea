/** Input that is almost right, drawn from a seed. */
import { seeded } from "../seeded.ts";

const NAMES = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "length",
  "then",
  "toJSON",
  "_placeholder",
  "num",
  "sluice",
  "type",
  "",
  "text",
  "n",
];
const TEXTS = [
  "",
  "\u0000",
  "\ud800",
  "\u2028",
  "\u202e",
  "😀",
  '"',
  "\\",
  "NaN",
  "-0",
  "1e999",
  "2026-13-45T99:99:99Z",
  "%00%2e%2e%2f",
  "../../etc/passwd",
  "chat.message",
  "sluice.close",
  "disconnect",
  "a".repeat(300),
  "é".repeat(120),
];
const NUMBERS = [0, -0, -1, 1.5, 2 ** 31, 2 ** 53, -(2 ** 53), 1e308, 5e-324, 255, 999_999_999_999_999];

export class Dice {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  /** From 0 up to but not `end`. */
  below(end: number): number {
    return Math.floor(this.#random() * end);
  }

  chance(of: number): boolean {
    return this.#random() < of;
  }

  one<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }

  /** One of these actions; those with more weight more often. */
  act<T>(choices: readonly (readonly [weight: number, act: () => T])[]): T {
    let left = this.#random() * choices.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, act] of choices) {
      left -= weight;
      if (left < 0) return act();
    }
    return (choices[0] as readonly [number, () => T])[1]();
  }

  bytes(max: number): Buffer {
    return Buffer.from(Array.from({ length: this.below(max + 1) }, () => this.below(256)));
  }

  text(): string {
    if (this.chance(0.7)) return this.one(TEXTS);
    return Array.from({ length: this.below(20) }, () => String.fromCharCode(this.below(0x3000))).join("");
  }

  /** Any value that JSON can say. */
  value(depth = 3): unknown {
    const leaf = this.one([
      () => null,
      () => this.chance(0.5),
      () => this.one(NUMBERS),
      () => this.text(),
      () => ({ _placeholder: true, num: this.one([0, 1, 7, -1, "0", 1e9, null]) }),
    ]);
    if (depth === 0 || this.chance(0.5)) return leaf();
    const size = this.below(5);
    if (this.chance(0.4)) return Array.from({ length: size }, () => this.value(depth - 1));
    return record(Array.from({ length: size }, () => [this.one(NAMES), this.value(depth - 1)]));
  }

  /** The value with something in it replaced, dropped, doubled or wrapped. */
  bend(value: unknown): unknown {
    return this.act<unknown>([
      [2, () => this.value()],
      [1, () => [value]],
      [1, () => ({ value })],
      [1, () => this.nested(value)],
      [
        8,
        () => {
          if (Array.isArray(value)) return this.#bendList(value);
          if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) {
            return this.#bendRecord(Object.entries(value));
          }
          return this.value(1);
        },
      ],
    ]);
  }

  /** Deep, or long. */
  nested(value: unknown): unknown {
    let wrapped = value;
    const depth = this.one([10, 100, 1_000]);
    for (let i = 0; i < depth; i += 1) wrapped = this.chance(0.5) ? [wrapped] : { a: wrapped };
    return wrapped;
  }

  /** The text with characters changed, dropped, doubled, inserted, or an end cut off. */
  scratch(text: string): string {
    let scratched = text;
    for (let times = 1 + this.below(3); times > 0; times -= 1) {
      const at = this.below(scratched.length + 1);
      const [head, tail] = [scratched.slice(0, at), scratched.slice(at)];
      scratched = this.one([
        () => head + tail.slice(1),
        () => head + this.one([...'{}[]",:-/0123456789\\\u0000 \r\n\u001ebx']) + tail,
        () => head + String.fromCharCode(this.below(0x100)) + tail.slice(1),
        () => head + tail.slice(0, this.below(8)) + tail,
        () => head,
        () => head + this.text() + tail,
      ])();
    }
    return scratched;
  }

  /** The same for bytes. */
  scratchBytes(bytes: Uint8Array): Buffer {
    const scratched = Buffer.from(bytes);
    for (let times = 1 + this.below(3); times > 0 && scratched.length > 0; times -= 1) {
      scratched[this.below(scratched.length)] = this.below(256);
    }
    return this.chance(0.2) ? scratched.subarray(0, this.below(scratched.length + 1)) : scratched;
  }

  #bendList(list: readonly unknown[]): unknown {
    const at = this.below(list.length);
    return this.one([
      () => list.toSpliced(at, 1),
      () => list.with(Math.min(at, list.length - 1), this.bend(list[at])),
      () => [...list, this.value(1)],
      () => [...list, ...list],
    ])();
  }

  #bendRecord(entries: readonly (readonly [string, unknown])[]): unknown {
    if (entries.length === 0) return record([[this.one(NAMES), this.value(1)]]);
    const at = this.below(entries.length);
    const [name, value] = entries[at] as readonly [string, unknown];
    return this.one([
      () => record(entries.toSpliced(at, 1)),
      () => record(entries.with(at, [name, this.bend(value)])),
      () => record(entries.with(at, [this.one(NAMES), value])),
      () => record([...entries, [this.one(NAMES), this.value(1)]]),
    ])();
  }
}

/** An object with exactly these fields, `__proto__` as one like others. */
function record(entries: readonly (readonly [string, unknown])[]): object {
  const made = {};
  for (const [name, value] of entries) {
    Object.defineProperty(made, name, { value, enumerable: true, configurable: true, writable: true });
  }
  return made;
}
