/**
 * The routing table: which consumer serves which namespace. First match wins; what can never match, or
 * is written wrongly, stops the start.
 */
import type { RequestHandler } from "express";
import { compose } from "./compose.ts";
import {
  Consumer,
  type ConsumerClass,
  type ConsumerTypes,
  type OptionsIn,
  type ParamsIn,
  type UserIn,
} from "./consumer/consumer.ts";
import { type HandlerTable, handlerTable } from "./consumer/handlers.ts";
import { ConversionTable, type Converters, type ValueOf } from "./converters.ts";
import { ConfigurationError, Faults } from "./errors.ts";
import type { AddedBy, DemandsUser, NeededBy } from "./marks.ts";
import { missingIn } from "./marks.ts";
import { nearest } from "./names.ts";
import { type OwnConverterOf, type Params, type ParamsOf, Pattern } from "./pattern.ts";
import type { ConnectionScope } from "./scope.ts";
import type { Middleware } from "./types.ts";

declare const needs: unique symbol;

declare const wants: unique symbol;

/**
 * One row of a routing table. `Needs`: the parameters that an including pattern must still bring; `Wants`:
 * the fields of the scope that middleware further out must still add.
 */
export interface RouteEntry<Needs = Record<never, never>, Wants = object> {
  /** Only for types. */
  readonly [needs]?: (needs: Needs) => void;
  readonly [wants]?: (wants: Wants) => void;
  /** The framework's own. */
  readonly row: Row;
}

type Row =
  | (RowBase & {
      readonly kind: "socket" | "sse";
      readonly consumer: ConsumerClass;
      readonly options: unknown;
    })
  | (RowBase & {
      readonly kind: "http";
      readonly handler: RequestHandler;
      readonly methods: readonly string[];
    })
  | (RowBase & { readonly kind: "include"; readonly rows: readonly Row[] });

interface RowBase {
  readonly pattern: string;
  readonly name: string | undefined;
  readonly middleware: readonly Middleware[];
}

/** What a route has beside its pattern and its consumer. */
export interface RouteOptions<M extends readonly Middleware[] = readonly Middleware[]> {
  /** For `url(name, params)`; unique. Inside an `include` with a name it is `include:name`. */
  readonly name?: string;
  /** Runs after the application's and the includes'. */
  readonly middleware?: M;
}

type ConsumerOptions<T> =
  unknown extends OptionsIn<T> ? { readonly options?: OptionsIn<T> } : { readonly options: OptionsIn<T> };

type OptionsArgs<T, M extends readonly Middleware[]> =
  unknown extends OptionsIn<T>
    ? [options?: RouteOptions<M> & ConsumerOptions<T>]
    : [options: RouteOptions<M> & ConsumerOptions<T>];

/** The user that a consumer declares, as far as typed middleware further out has a say. */
type WantedUser<T, M extends readonly Middleware[]> =
  unknown extends UserIn<T>
    ? unknown
    : AddedBy<M> extends { readonly user: infer User }
      ? unknown extends User
        ? OuterUser<T, M>
        : User extends UserIn<T>
          ? unknown
          : { readonly user: { readonly theMiddlewareOfTheRouteAddsAnother: User } }
      : OuterUser<T, M>;
type OuterUser<T, M extends readonly Middleware[]> =
  DemandsUser<M> extends true
    ? { readonly user?: UserIn<T> | undefined | null }
    : { readonly user?: UserIn<T> };

/**
 * What the consumer's declared params ask for and the pattern does not have (or not of that type). Of a
 * parameter with a converter of the application's own, what that must make: `{ "(year)"?: Date }`.
 */
type Missing<Pattern extends string, Needed> = string extends keyof Needed
  ? Record<never, never>
  : Lacking<ParamsOf<Pattern>, OwnConverterOf<Pattern>, Needed>;
type Lacking<Has, Own, Needed> = {
  [K in keyof Needed as IsThere<Has, Own, K, Needed[K]> extends true ? never : K]: Needed[K];
} & {
  [K in keyof Needed & keyof Own as IsThere<Has, Own, K, Needed[K]> extends true
    ? `(${Own[K] & string})`
    : never]?: Needed[K];
};
type IsThere<Has, Own, K, Value> = K extends keyof Own
  ? K extends keyof Has
    ? // What is optional may be missing, whatever its converter makes.
      Pick<Has, K> extends Required<Pick<Has, K>>
      ? true
      : undefined extends Value
        ? true
        : false
    : false
  : K extends keyof Has
    ? Has[K] extends Value
      ? true
      : false
    : false;

/** What an application's own converters bring, as {@link Missing} asks for it. */
export type Converting<C> = { readonly [K in keyof C & string as `(${K})`]: ValueOf<C[K]> };

/** What all of these routes together still need. */
type NeededIn<Routes extends readonly RouteEntry<never, never>[]> = Routes[number] extends {
  readonly [needs]?: (needs: infer Needs) => void;
}
  ? Needs
  : never;
type WantedIn<Routes extends readonly RouteEntry<never, never>[]> = Routes[number] extends {
  readonly [wants]?: (wants: infer Wants) => void;
}
  ? Wants
  : never;

/**
 * Serves a namespace by a consumer.
 *
 * @param pattern - e.g. `/chat/:room`; the parameters are `scope.params`
 * @param options - `options`: handed to every instance as `this.options`
 */
export function route<
  const P extends string,
  T extends ConsumerTypes,
  const M extends readonly Middleware[] = readonly [],
>(
  pattern: P,
  consumer: ConsumerClass<T>,
  ...[options]: OptionsArgs<T, M>
): RouteEntry<Missing<P, ParamsIn<T>>, NeededBy<M> & WantedUser<T, M>> {
  return { row: consumerRow("socket", pattern, consumer as never, options) };
}

/**
 * Serves a path by a consumer over Server-Sent Events: `GET` opens a stream of events, `POST` sends one.
 * For clients that cannot hold a WebSocket.
 */
export function sse<
  const P extends string,
  T extends ConsumerTypes,
  const M extends readonly Middleware[] = readonly [],
>(
  pattern: P,
  consumer: ConsumerClass<T>,
  ...[options]: OptionsArgs<T, M>
): RouteEntry<Missing<P, ParamsIn<T>>, NeededBy<M> & WantedUser<T, M>> {
  return { row: consumerRow("sse", pattern, consumer as never, options) };
}

/**
 * An Express route beside the consumers, guarded by the same middleware. The scope is
 * `response.locals.scope`.
 *
 * @param options - `methods`: the HTTP methods it answers, by default all
 */
export function http<const P extends string, const M extends readonly Middleware[] = readonly []>(
  pattern: P,
  handler: RequestHandler,
  options: RouteOptions<M> & { readonly methods?: readonly string[] } = {},
): RouteEntry<Record<never, never>, NeededBy<M>> {
  const { name, middleware = [], methods = [] } = options;
  return { row: { kind: "http", pattern, handler, name, middleware, methods } };
}

/** Routes below a common prefix, with common middleware. The prefix may have parameters. */
export function include<
  const P extends string,
  const Routes extends readonly RouteEntry<never, never>[],
  const M extends readonly Middleware[] = readonly [],
>(
  prefix: P,
  routes: Routes,
  { name, middleware = [] as never }: RouteOptions<M> = {},
): RouteEntry<Missing<P, NeededIn<Routes>>, NeededBy<M> & StillWanted<WantedIn<Routes>, M>> {
  const rows = routes.map((entry) => entry.row);
  return { row: { kind: "include", pattern: prefix, name, middleware, rows } };
}

type StillWanted<Wanted, M extends readonly Middleware[]> =
  AddedBy<M> extends infer Added
    ? [Added] extends [never]
      ? unknown
      : Pick<Added, keyof Added & keyof Wanted> extends Pick<Wanted, keyof Added & keyof Wanted>
        ? Omit<Wanted, keyof Added>
        : { readonly user: { readonly theMiddlewareOfTheIncludeAddsAnother: Added } }
    : never;

function consumerRow(
  kind: "socket" | "sse",
  pattern: string,
  consumer: ConsumerClass,
  { name, middleware = [], options }: RouteOptions & { readonly options?: unknown } = {},
): Row {
  return { kind, pattern, consumer, name, middleware, options };
}

interface ResolvedBase {
  readonly pattern: string;
  readonly name: string | undefined;
  readonly matcher: Pattern;
  /** The application's first, the route's own last. */
  readonly middleware: readonly Middleware[];
  /** All middleware from the application's to the route's own, made one. */
  admit(scope: ConnectionScope, inner: (scope: ConnectionScope) => Promise<void>): Promise<void>;
}

export interface ConsumerRoute extends ResolvedBase {
  readonly kind: "socket" | "sse";
  readonly consumer: ConsumerClass;
  readonly handlers: HandlerTable;
  readonly options: unknown;
}

export interface HttpRoute extends ResolvedBase {
  readonly kind: "http";
  readonly handler: RequestHandler;
  /** Upper case; empty for all. */
  readonly methods: readonly string[];
}

export type Resolved = ConsumerRoute | HttpRoute;

export interface Match<R extends Resolved = Resolved> {
  readonly route: R;
  readonly params: Params;
}

export class Router {
  readonly #routes: readonly Resolved[];
  readonly #byName = new Map<string, Resolved>();
  readonly #places: ReadonlyMap<Middleware, string>;

  /**
   * @param middleware - the application's
   * @param converters - the application's own
   * @throws ConfigurationError that lists every fault of the table
   */
  constructor(
    entries: readonly RouteEntry<never, never>[],
    middleware: readonly Middleware[] = [],
    converters: Converters = {},
  ) {
    const faults = new Faults();
    const conversions = new ConversionTable(converters, faults.list);
    checkMiddleware(middleware, "the application", faults);
    const rows = entries.map((entry) => entry.row);
    this.#places = placesIn(rows, middleware);
    this.#routes = flatten(rows, { pattern: "", name: undefined, middleware }, conversions, faults);
    for (const route of this.#routes) {
      if (route.name === undefined) continue;
      const other = this.#byName.get(route.name);
      if (other !== undefined && other.pattern !== route.pattern) {
        faults.list.push(`the name "${route.name}" is given to "${other.pattern}" and to "${route.pattern}"`);
      }
      this.#byName.set(route.name, route);
    }
    faults.list.push(...unreachable(this.#routes));
    if (faults.list.length > 0) throw new ConfigurationError(faults.list);
  }

  /** The consumer that serves a namespace (`socket`) or a path (`sse`). */
  consumerAt(kind: "socket" | "sse", path: string): Match<ConsumerRoute> | undefined {
    for (const route of this.#routes) {
      const params = route.kind === kind ? route.matcher.match(path) : undefined;
      if (params !== undefined) return { route: route as ConsumerRoute, params };
    }
    return undefined;
  }

  httpAt(method: string, path: string): Match<HttpRoute> | undefined {
    for (const route of this.#routes) {
      if (route.kind !== "http" || !answers(route, method)) continue;
      const params = route.matcher.match(path);
      if (params !== undefined) return { route, params };
    }
    return undefined;
  }

  /**
   * The path of a named route, e.g. `url("chat", { room: "lobby" })`.
   *
   * @throws Error when there is no such name, or a parameter is missing or not acceptable
   */
  url(name: string, params: Readonly<Record<string, unknown>> = {}): string {
    const route = this.#byName.get(name);
    if (route !== undefined) return route.matcher.format(params);
    const meant = nearest(name, this.#byName.keys());
    throw new Error(`no route has the name "${name}"${meant ? `; did you mean "${meant}"?` : ""}`);
  }

  /**
   * Where a middleware stands first, as text that is the same on all nodes whose tables are; undefined: nowhere.
   */
  placeOf(middleware: Middleware): string | undefined {
    return this.#places.get(middleware);
  }

  /** The table as it resolves, in order. */
  get routes(): readonly Resolved[] {
    return this.#routes;
  }
}

/** By pattern and number there, so that rows before and after may come and go. */
function placesIn(rows: readonly Row[], outermost: readonly Middleware[]): Map<Middleware, string> {
  const places = new Map<Middleware, string>();
  const counts = new Map<string, number>();
  const note = (pattern: string, middleware: readonly Middleware[]) => {
    for (const layer of middleware) {
      if (places.has(layer)) continue;
      const count = counts.get(pattern) ?? 0;
      places.set(layer, `${pattern}#${count}`);
      counts.set(pattern, count + 1);
    }
  };
  const walk = (outer: string, inner: readonly Row[]) => {
    for (const row of inner) {
      const pattern = joined(outer, row.pattern);
      note(pattern, row.middleware);
      if (row.kind === "include") walk(pattern, row.rows);
    }
  };
  note("", outermost);
  walk("", rows);
  return places;
}

function flatten(
  rows: readonly Row[],
  outer: RowBase,
  conversions: ConversionTable,
  faults: Faults,
): Resolved[] {
  return rows.flatMap((row): Resolved[] => {
    const pattern = joined(outer.pattern, row.pattern);
    const name = [outer.name, row.name].filter(Boolean).join(":") || undefined;
    const middleware = [...outer.middleware, ...row.middleware];
    checkMiddleware(row.middleware, `"${pattern}"`, faults);
    if (row.kind === "include") return flatten(row.rows, { pattern, name, middleware }, conversions, faults);
    const matcher = faults.collect(() => new Pattern(pattern, conversions));
    const missing = missingIn(middleware.filter((layer) => typeof layer === "function"));
    if (missing !== undefined) faults.list.push(`"${pattern}": ${missing}`);
    if (matcher === undefined) return [];
    // An include's name alone names no route.
    const admit = compose(middleware, `"${pattern}"`);
    const base = { pattern, name: row.name && name, matcher, middleware, admit };
    if (row.kind === "http") {
      const methods = row.methods.map((method) => method.toUpperCase());
      return [{ ...base, kind: "http", handler: row.handler, methods }];
    }
    const { kind, consumer, options } = row;
    if (!isConsumerClass(consumer)) {
      faults.list.push(`"${pattern}" needs a class that extends Consumer`);
      return [];
    }
    const handlers = faults.collect(() => handlerTable(consumer, Consumer.prototype));
    return handlers === undefined ? [] : [{ ...base, kind, consumer, handlers, options }];
  });
}

function checkMiddleware(middleware: readonly Middleware[], of: string, faults: Faults): void {
  for (const layer of middleware) {
    if (typeof layer !== "function") faults.list.push(`a middleware of ${of} is no function (scope, next)`);
  }
}

function joined(prefix: string, pattern: string): string {
  if (prefix === "" || prefix === "/") return pattern;
  return pattern === "/" ? prefix : prefix + pattern;
}

function isConsumerClass(value: unknown): value is ConsumerClass {
  return typeof value === "function" && value.prototype instanceof Consumer;
}

function unreachable(routes: readonly Resolved[]): readonly string[] {
  return routes.flatMap((route, index) => {
    const earlier = routes.slice(0, index).find((other) => takesAllOf(other, route));
    if (earlier === undefined) return [];
    return earlier.pattern === route.pattern
      ? [`"${route.pattern}" is routed twice; remove one`]
      : [`"${route.pattern}" can never match: "${earlier.pattern}" comes first and takes all it would`];
  });
}

function takesAllOf(earlier: Resolved, later: Resolved): boolean {
  if (earlier.kind !== later.kind || !earlier.matcher.covers(later.matcher)) return false;
  if (earlier.kind !== "http" || later.kind !== "http" || earlier.methods.length === 0) return true;
  return later.methods.length > 0 && later.methods.every((method) => earlier.methods.includes(method));
}

function answers({ methods }: HttpRoute, method: string): boolean {
  return methods.length === 0 || methods.includes(method) || (method === "HEAD" && methods.includes("GET"));
}
