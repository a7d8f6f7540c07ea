/**
 * Patterns of paths: `/chat/:room`, `/users/:id(int)`, `/files/:rest(path)`, `/archive/:year(int)?`.
 *
 * A segment is a literal or a parameter. A parameter takes one segment (`path`: one or more) that its
 * converter accepts; without a converter, any. Optional parameters stand at the end. Patterns are
 * anchored at both ends and tell upper from lower case.
 */
import {
  type BuiltIn,
  builtInConversions,
  type Conversion,
  type ConversionTable,
  type Converters,
  type ValueOf,
} from "./converters.ts";
import { printable } from "./names.ts";

/**
 * What a pattern's parameters are, as types: `{ room: string; id?: number }`. With converters of one's own:
 * `ParamsOf<"/archive/:from(year)", typeof converters>`; without them theirs are unknown.
 */
export type ParamsOf<Pattern extends string, C extends Converters = Record<never, never>> = Flat<
  Segments<Pattern, C>
>;

type Flat<T> = { readonly [K in keyof T]: T[K] };
type Segments<P extends string, C> = P extends `${infer Head}/${infer Rest}`
  ? Segment<Head, C> & Segments<Rest, C>
  : Segment<P, C>;
type Segment<S extends string, C> = S extends `:${infer Name}(${infer Converter})?`
  ? { [K in Name]?: Converted<Converter, C> }
  : S extends `:${infer Name}(${infer Converter})`
    ? { [K in Name]: Converted<Converter, C> }
    : S extends `:${infer Name}?`
      ? { [K in Name]?: string }
      : S extends `:${infer Name}`
        ? { [K in Name]: string }
        : unknown;
type Converted<Name extends string, C> = Name extends BuiltIn
  ? Name extends "int"
    ? number
    : string
  : Name extends keyof C
    ? ValueOf<C[Name]>
    : unknown;

/** By parameter, which converter of the application's own it names. */
export type OwnConverterOf<P extends string> = P extends `${infer Head}/${infer Rest}`
  ? OwnIn<Head> & OwnConverterOf<Rest>
  : OwnIn<P>;
type OwnIn<S extends string> = S extends `:${infer Name}(${infer Converter})${"" | "?"}`
  ? Converter extends BuiltIn
    ? unknown
    : { [K in Name]: Converter }
  : unknown;

/** One parameter of a pattern, as it is declared. */
export interface DeclaredParameter {
  readonly name: string;
  /** Of a converter: `str` where none is named. */
  readonly converter: string;
  readonly optional: boolean;
}

export type Params = Readonly<Record<string, unknown>>;

type Part = { readonly literal: string } | Parameter;
interface Parameter {
  readonly param: string;
  readonly conversion: Conversion;
  readonly optional: boolean;
}

const PARAMETER = /^:([A-Za-z_][A-Za-z0-9_]*)(?:\(([A-Za-z_][A-Za-z0-9_]*)\))?(\?)?$/;
const LITERAL = /^[A-Za-z0-9._~!$&'*+;=@-]+$/;

export class Pattern {
  readonly source: string;
  readonly #parts: readonly Part[];

  /** @throws Error that says what is wrong with the pattern */
  constructor(source: string, conversions: ConversionTable = builtInConversions) {
    this.source = source;
    this.#parts = parse(source, conversions);
  }

  /** In the order of the path. */
  get parameters(): readonly DeclaredParameter[] {
    return this.#parts.flatMap((part) => {
      if ("literal" in part) return [];
      const { param: name, conversion, optional } = part;
      return [{ name, converter: conversion.name, optional }];
    });
  }

  /** The parameters if `path` matches. Segments are percent-decoded; what cannot be decoded never matches. */
  match(path: string): Params | undefined {
    if (!path.startsWith("/")) return undefined;
    const segments = splitPath(path);
    const params: Record<string, unknown> = {};
    let next = 0;
    for (const part of this.#parts) {
      const rest = takesRest(part);
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
        const value = part.conversion.read(segment);
        if (value === undefined) return undefined;
        params[part.param] = value;
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
      const encoded = encodeURIComponent(this.#written(part, value));
      segments.push(takesRest(part) ? encoded.replaceAll("%2F", "/") : encoded);
    }
    return `/${segments.join("/")}`;
  }

  /** Whether every path that `other` matches is matched by this pattern too. */
  covers(other: Pattern): boolean {
    return other.#variants().every((theirs) => this.#variants().some((ours) => coversParts(ours, theirs)));
  }

  #written({ param, conversion }: Parameter, value: unknown): string {
    const { name, means } = conversion;
    let text: unknown;
    try {
      text = conversion.write(value);
    } catch (error) {
      throw new Error(`"${this.source}": the converter ${name} has no text for "${param}"`, { cause: error });
    }
    if (typeof text === "string" && conversion.read(text) !== undefined) return text;
    throw new Error(`"${this.source}": "${printable(String(text))}" is no ${name} for "${param}" (${means})`);
  }

  /** The pattern with and without its optional parameters. */
  #variants(): readonly (readonly Part[])[] {
    const required = this.#parts.filter((part) => "literal" in part || !part.optional).length;
    return Array.from({ length: this.#parts.length - required + 1 }, (_, i) =>
      this.#parts.slice(0, required + i),
    );
  }
}

function parse(source: string, conversions: ConversionTable): readonly Part[] {
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
    if (param === undefined) {
      throw new Error(
        `the pattern "${source}" has the parameter "${segment}"; write ":name", ":name?" or ":name(converter)" with one of ${conversions.names.join(", ")}`,
      );
    }
    const conversion = conversions.find(given);
    if (conversion === undefined) {
      throw new Error(`the pattern "${source}" has the parameter "${segment}"; ${conversions.hint(given)}`);
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
    return { param, conversion, optional: optional === "?" };
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

function takesRest(part: Part): boolean {
  return "param" in part && part.conversion.name === "path";
}

function coversParts(ours: readonly Part[], theirs: readonly Part[]): boolean {
  for (const [index, part] of ours.entries()) {
    const other = theirs[index];
    if (other === undefined) return false;
    if (takesRest(part)) return true;
    if (!coversPart(part, other)) return false;
  }
  return ours.length === theirs.length;
}

function coversPart(ours: Part, theirs: Part): boolean {
  if ("literal" in ours) return "literal" in theirs && ours.literal === theirs.literal;
  return "literal" in theirs
    ? ours.conversion.read(theirs.literal) !== undefined
    : ours.conversion.covers(theirs.conversion.name);
}
