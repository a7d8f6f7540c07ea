/**
 * Patterns of paths: `/chat/:room`, `/users/:id(int)`, `/files/:rest(path)`, `/archive/:year(int)?`.
 *
 * A segment is a literal or a parameter. A parameter takes one segment (`path`: one or more) that its
 * converter accepts; without a converter, any. Optional parameters stand at the end. Patterns are
 * anchored at both ends and tell upper from lower case.
 */
import { printable } from "./names.ts";

type Value = string | number;

interface Converter {
  readonly accepts: RegExp;
  readonly means: string;
  /** Which other converters it accepts everything of. */
  readonly covers: readonly ConverterName[];
  parse(text: string): Value;
}

export type ConverterName = "str" | "int" | "slug" | "uuid" | "path";

const text = (value: string): string => value;

const CONVERTERS: Readonly<Record<ConverterName, Converter>> = {
  str: {
    accepts: /^[^/]+$/,
    means: "one segment, without a slash",
    covers: ["str", "int", "slug", "uuid"],
    parse: text,
  },
  // At most 15 digits, so that the number is exact.
  int: { accepts: /^[0-9]{1,15}$/, means: "up to 15 digits", covers: ["int"], parse: Number },
  slug: {
    accepts: /^[A-Za-z0-9_-]+$/,
    means: "letters, digits, - and _",
    covers: ["slug", "int", "uuid"],
    parse: text,
  },
  uuid: {
    means: "in lower case",
    accepts: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
    covers: ["uuid"],
    parse: text,
  },
  path: {
    accepts: /^.+$/,
    means: "at least one segment",
    covers: ["path", "str", "int", "slug", "uuid"],
    parse: text,
  },
};

/** What a pattern's parameters are, as types: `{ room: string; id?: number }`. */
export type ParamsOf<Pattern extends string> = Flat<Segments<Pattern>>;

type Flat<T> = { readonly [K in keyof T]: T[K] };
type Segments<P extends string> = P extends `${infer Head}/${infer Rest}`
  ? Segment<Head> & Segments<Rest>
  : Segment<P>;
type Segment<S extends string> = S extends `:${infer Name}(${infer C})?`
  ? { [K in Name]?: Converted<C> }
  : S extends `:${infer Name}(${infer C})`
    ? { [K in Name]: Converted<C> }
    : S extends `:${infer Name}?`
      ? { [K in Name]?: string }
      : S extends `:${infer Name}`
        ? { [K in Name]: string }
        : unknown;
type Converted<C extends string> = C extends "int" ? number : string;

export type Params = Readonly<Record<string, Value>>;

type Part =
  | { readonly literal: string }
  | { readonly param: string; readonly converter: ConverterName; readonly optional: boolean };

const PARAMETER = /^:([A-Za-z_][A-Za-z0-9_]*)(?:\(([a-z]+)\))?(\?)?$/;
const LITERAL = /^[A-Za-z0-9._~!$&'*+;=@-]+$/;

export class Pattern {
  readonly source: string;
  readonly #parts: readonly Part[];

  /** @throws Error that says what is wrong with the pattern */
  constructor(source: string) {
    this.source = source;
    this.#parts = parse(source);
  }

  /** The parameters if `path` matches. Segments are percent-decoded; what cannot be decoded never matches. */
  match(path: string): Params | undefined {
    if (!path.startsWith("/")) return undefined;
    const segments = splitPath(path);
    const params: Record<string, Value> = {};
    let next = 0;
    for (const part of this.#parts) {
      const rest = "param" in part && part.converter === "path";
      const raw = rest ? segments.slice(next).join("/") : segments[next];
      if (raw === undefined || (rest && next >= segments.length)) {
        if ("param" in part && part.optional) continue;
        return undefined;
      }
      next = rest ? segments.length : next + 1;
      const segment = decode(raw);
      if (segment === undefined) return undefined;
      if ("literal" in part) {
        if (segment !== part.literal) return undefined;
      } else {
        const converter = CONVERTERS[part.converter];
        if (!converter.accepts.test(segment)) return undefined;
        params[part.param] = converter.parse(segment);
      }
    }
    return next === segments.length ? params : undefined;
  }

  /**
   * The path for these parameters.
   *
   * @throws Error when one is missing, unknown or not what its converter accepts
   */
  format(params: Readonly<Record<string, unknown>>): string {
    const unknown = Object.keys(params).filter(
      (name) => !this.#parts.some((part) => "param" in part && part.param === name),
    );
    if (unknown.length > 0) throw new Error(`"${this.source}" has no parameter "${unknown[0]}"`);

    const segments: string[] = [];
    for (const part of this.#parts) {
      if ("literal" in part) {
        segments.push(part.literal);
        continue;
      }
      const value = params[part.param];
      if (value === undefined) {
        if (part.optional) break;
        throw new Error(`"${this.source}" needs the parameter "${part.param}"`);
      }
      const segment = String(value);
      if (!CONVERTERS[part.converter].accepts.test(segment)) {
        throw new Error(
          `"${this.source}": "${printable(segment)}" is no ${part.converter} for "${part.param}" (${CONVERTERS[part.converter].means})`,
        );
      }
      const encoded = encodeURIComponent(segment);
      segments.push(part.converter === "path" ? encoded.replaceAll("%2F", "/") : encoded);
    }
    return `/${segments.join("/")}`;
  }

  /** Whether every path that `other` matches is matched by this pattern too. */
  covers(other: Pattern): boolean {
    return other.#variants().every((theirs) => this.#variants().some((ours) => coversParts(ours, theirs)));
  }

  /** The pattern with and without its optional parameters. */
  #variants(): readonly (readonly Part[])[] {
    const required = this.#parts.filter((part) => "literal" in part || !part.optional).length;
    return Array.from({ length: this.#parts.length - required + 1 }, (_, i) =>
      this.#parts.slice(0, required + i),
    );
  }
}

function parse(source: string): readonly Part[] {
  if (!source.startsWith("/")) throw new Error(`the pattern "${source}" must begin with "/"`);
  const seen = new Set<string>();
  const segments = splitPath(source);
  return segments.map((segment, index): Part => {
    if (!segment.startsWith(":")) {
      if (LITERAL.test(segment)) return { literal: segment };
      throw new Error(
        `the pattern "${source}" has the segment "${segment}"; a segment is plain text or ":name", ":name(converter)", ":name?"`,
      );
    }
    const [, param, given = "str", optional] = PARAMETER.exec(segment) ?? [];
    if (param === undefined || !isConverter(given)) {
      throw new Error(
        `the pattern "${source}" has the parameter "${segment}"; write ":name", ":name?" or ":name(converter)" with one of ${Object.keys(CONVERTERS).join(", ")}`,
      );
    }
    if (seen.has(param)) throw new Error(`the pattern "${source}" has the parameter "${param}" twice`);
    seen.add(param);
    const isLast = index === segments.length - 1;
    if (given === "path" && !isLast) {
      throw new Error(`the pattern "${source}": a "path" parameter takes all that follows, so it comes last`);
    }
    if (optional === "?" && !segments.slice(index).every((later) => later.endsWith("?"))) {
      throw new Error(`the pattern "${source}": optional parameters stand at the end`);
    }
    return { param, converter: given, optional: optional === "?" };
  });
}

/** `/` has no segments. A slash at the end makes an empty last one, which no pattern has. */
function splitPath(path: string): readonly string[] {
  return path === "/" ? [] : path.slice(1).split("/");
}

function decode(segment: string): string | undefined {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

function isConverter(name: string): name is ConverterName {
  return Object.hasOwn(CONVERTERS, name);
}

function coversParts(ours: readonly Part[], theirs: readonly Part[]): boolean {
  for (const [index, part] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined) return false;
    if ("param" in part && part.converter === "path") return true;
    if (!coversPart(part, other)) return false;
  }
  return ours.length === theirs.length;
}

function coversPart(ours: Part, theirs: Part): boolean {
  if ("literal" in ours) return "literal" in theirs && ours.literal === theirs.literal;
  const { accepts, covers } = CONVERTERS[ours.converter];
  return "literal" in theirs ? accepts.test(theirs.literal) : covers.includes(theirs.converter);
}
