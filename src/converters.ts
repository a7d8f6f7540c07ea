/**
 * What a parameter of a path may be: the converters that are always there, and those of an application.
 * Clients write the paths, so a regular expression of one's own is bounded and tried before it is used.
 */
import { types } from "node:util";
import { nearest } from "./names.ts";

/**
 * What `:name(converter)` takes and means, for `createApplication({ converters })`.
 *
 * @example
 * const year: Converter<Date> = {
 *   match: /[0-9]{4}/,
 *   parse: (text) => new Date(Date.UTC(Number(text), 0)),
 *   format: (date) => String(date.getUTCFullYear()),
 * };
 * createApplication({ converters: { year }, routes: [route("/archive/:from(year)", ArchiveConsumer)] });
 */
export interface Converter<Value = unknown> {
  /**
   * What it takes: all of one segment, percent-decoded, at most 100 characters and never a slash. It is
   * anchored at both ends by itself; its flags `g`, `m` and `y` mean nothing here.
   */
  readonly match: RegExp;
  /**
   * What the parameter is then. Synchronous. What throws or is undefined does not match, so that the next
   * route is asked.
   */
  parse(text: string): Value;
  /** The way back, for `url`; by default `String(value)`. `match` and `parse` must take what it returns. */
  format?(value: Value): string;
}

/** By the names that patterns call them by. */
export type Converters = Readonly<Record<string, Converter>>;

/** What a converter makes of text. */
export type ValueOf<C> = C extends { parse(text: string): infer Value } ? Value : never;

export type BuiltIn = "str" | "int" | "slug" | "uuid" | "path";

/** One converter as patterns ask it. */
export interface Conversion {
  readonly name: string;
  readonly means: string;
  /** The value; undefined: it does not take this text. Never throws. */
  read(text: string): unknown;
  /** The text of a value, which `read` may not take; throws what an application's throws. */
  write(value: unknown): unknown;
  /** Whether it takes all that the other takes. */
  covers(other: string): boolean;
}

const text = (value: string): string => value;

const BUILT_IN: Readonly<Record<BuiltIn, readonly [RegExp, string, (text: string) => unknown, string[]]>> = {
  str: [/^[^/]+$/, "one segment, without a slash", text, ["int", "slug", "uuid"]],
  // At most 15 digits, so that the number is exact.
  int: [/^[0-9]{1,15}$/, "up to 15 digits", Number, []],
  slug: [/^[A-Za-z0-9_-]+$/, "letters, digits, - and _", text, ["int", "uuid"]],
  uuid: [/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/, "in lower case", text, []],
  path: [/^.+$/, "at least one segment", text, ["str", "int", "slug", "uuid"]],
};

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const MAX_LENGTH = 100;
/** A regular expression that needs longer for one text is refused. */
const MAX_MATCH_MS = 20;
const MAX_PUMPS = 50;

/** All converters that patterns may name. */
export class ConversionTable {
  readonly #conversions = new Map<string, Conversion>();
  readonly #own: readonly string[];

  /** @param faults - takes what is wrong with them; a converter with a fault stays, so that patterns can name it */
  constructor(own: Converters, faults: string[]) {
    for (const [name, [accepts, means, parse, covers]] of Object.entries(BUILT_IN)) {
      this.#conversions.set(name, {
        name,
        means,
        read: (given) => (accepts.test(given) ? parse(given) : undefined),
        write: String,
        covers: (other) => other === name || covers.includes(other) || this.#coversOwn(name, other),
      });
    }
    this.#own = Object.keys(own);
    for (const [name, converter] of Object.entries(own)) {
      const found = faultsOf(name, converter);
      faults.push(...found.map((fault) => `converters.${name} ${fault}`));
      if (!Object.hasOwn(BUILT_IN, name)) {
        this.#conversions.set(name, found.length === 0 ? ownConversion(name, converter) : neverTaking(name));
      }
    }
  }

  get names(): readonly string[] {
    return [...this.#conversions.keys()];
  }

  find(name: string): Conversion | undefined {
    return this.#conversions.get(name);
  }

  /** What may have been meant. */
  hint(name: string): string {
    const meant = nearest(name, this.names);
    return meant === undefined
      ? `its converter is none of ${this.names.join(", ")}, nor one of the application's own (option converters)`
      : `did you mean the converter "${meant}"?`;
  }

  /** Those take one segment without a slash. */
  #coversOwn(name: string, other: string): boolean {
    return (name === "str" || name === "path") && this.#own.includes(other);
  }
}

/** For patterns that name none of an application's. */
export const builtInConversions = new ConversionTable({}, []);

function ownConversion(name: string, converter: Converter): Conversion {
  const whole = anchored(converter.match);
  return {
    name,
    means: `all of it ${String(converter.match)}, at most ${MAX_LENGTH} characters`,
    read: (given) => {
      if (given.length > MAX_LENGTH || given.includes("/") || !whole.test(given)) return undefined;
      try {
        const value: unknown = converter.parse(given);
        if (!isThenable(value)) return value;
        // Nobody else hears that it rejects.
        void Promise.resolve(value).catch(() => {});
        return undefined;
      } catch {
        return undefined;
      }
    },
    write: (value) => (converter.format === undefined ? String(value) : converter.format(value)),
    covers: (other) => other === name,
  };
}

/** In the place of one with a fault, which is told already. */
function neverTaking(name: string): Conversion {
  const none = () => undefined;
  return { name, means: "nothing", read: none, write: String, covers: () => false };
}

function faultsOf(name: string, converter: Partial<Converter> | undefined): readonly string[] {
  const faults: string[] = [];
  if (Object.hasOwn(BUILT_IN, name)) {
    faults.push("has the name of a converter that is always there; choose another");
  } else if (!NAME.test(name)) {
    faults.push("needs a name of letters, digits and _ that begins with no digit");
  }
  const { match, parse, format } = converter ?? {};
  if (!types.isRegExp(match)) faults.push("needs match, a regular expression for one segment");
  else if (isSlow(match)) {
    faults.push(
      `has a match that takes too long for some texts of ${MAX_LENGTH} characters, which clients could send: ${String(match)}; let no repetition take in two ways what is repeated inside it, as (a+)+ does`,
    );
  }
  if (typeof parse !== "function") faults.push("needs parse(text), which returns the value");
  else if (parse.constructor.name === "AsyncFunction") {
    faults.push("has a parse that is async; parse text here, and look things up in a middleware");
  }
  if (format !== undefined && typeof format !== "function") {
    faults.push("has a format that is no function (value) => text");
  }
  return faults;
}

function anchored({ source, flags }: RegExp): RegExp {
  return new RegExp(`^(?:${source})$`, flags.replace(/[gmy]/g, ""));
}

/**
 * Whether it backtracks without end, as `(a+)+` does. It is tried with what it names itself, again and
 * again, one more each time, and an end that fits nothing: such a one takes twice as long from one length
 * to the next, and is found before it takes long.
 */
function isSlow(match: RegExp): boolean {
  const whole = anchored(match);
  return pumpsOf(match.source).some((pump) => {
    for (let given = pump; given.length < MAX_LENGTH; given += pump) {
      if (takesLong(whole, `${given}\u0000`)) return true;
    }
    return false;
  });
}

function pumpsOf(source: string): readonly string[] {
  const words = source.match(/[\p{L}\p{N}]{2,}/gu) ?? [];
  const spaced = words.map((word) => `${word} `);
  return [...new Set(["a", "A", "0", "-", "_", ".", " ", "a ", "a-", "é", ...source, ...words, ...spaced])]
    .filter((pump) => pump.length < MAX_LENGTH)
    .slice(0, MAX_PUMPS);
}

/** Three times, so that it is not the machine that was busy. */
function takesLong(whole: RegExp, given: string): boolean {
  for (let tries = 0; tries < 3; tries += 1) {
    const beganAt = performance.now();
    whole.test(given);
    if (performance.now() - beganAt < MAX_MATCH_MS) return false;
  }
  return true;
}

function isThenable(value: unknown): boolean {
  return typeof (value as { readonly then?: unknown } | null | undefined)?.then === "function";
}
