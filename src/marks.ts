/**
 * What middleware adds to the scope for those after it, and what it needs of those before it. Types say it
 * to the compiler, the same as names to the router, which checks both at the start.
 */
import type { Middleware } from "./types.ts";

declare const types: unique symbol;

/** A middleware that says what it needs and adds, by fields of the scope. */
export interface MarkedMiddleware<Adds = unknown, Needs = unknown> extends MiddlewareMarks {
  (...args: Parameters<Middleware>): unknown;
  /** Only for types. */
  readonly [types]: { readonly needs: (needs: Needs) => void; readonly adds: Adds };
}

export interface MiddlewareMarks {
  /** Fields of the scope that others must have added before, e.g. `session`. */
  readonly requires: readonly string[];
  /** Fields of the scope that those after it can rely on. */
  readonly provides: readonly string[];
}

declare const present: unique symbol;

/** What `requireUser` adds: whoever the user is, there is one. */
export interface Present {
  readonly [present]: true;
}

/**
 * Says of a middleware what it needs of the scope and what it adds, for the checks at compile time and at
 * the start.
 *
 * @example
 * const tenant = mark<{ state: { tenant: Tenant } }, { user: User }>(
 *   { requires: ["user"], provides: ["state"] },
 *   async (scope, next) => next({ state: { tenant: await tenantOf(scope.user as User) } }),
 * );
 */
export function mark<Adds, Needs = unknown>(
  { requires = [], provides = [] }: Partial<MiddlewareMarks>,
  middleware: Middleware,
): MarkedMiddleware<Adds, Needs> {
  const marked: Middleware = (scope, next) => middleware(scope, next);
  Object.defineProperty(marked, "name", { value: middleware.name });
  return Object.assign(marked, { requires, provides }) as never;
}

/** The marks of a middleware; a plain function has none and may add anything. */
function marksOf(middleware: Middleware): MiddlewareMarks | undefined {
  const { requires, provides } = middleware as Middleware & Partial<MiddlewareMarks>;
  return requires === undefined && provides === undefined
    ? undefined
    : { requires: requires ?? [], provides: provides ?? [] };
}

/** What the first that lacks something lacks, as a sentence; undefined if all is there. */
export function missingIn(middleware: readonly Middleware[]): string | undefined {
  const added = new Set<string>();
  for (const layer of middleware) {
    const marks = marksOf(layer);
    if (marks === undefined) return undefined;
    const lacks = marks.requires.filter((field) => !added.has(field));
    if (lacks.length > 0) {
      return `the middleware "${layer.name || "(anonymous)"}" needs scope.${lacks.join(" and scope.")}; put one before it that adds it, such as ${lacks.map(exampleOf).join(" and ")}`;
    }
    for (const field of marks.provides) added.add(field);
  }
  return undefined;
}

function exampleOf(field: string): string {
  if (field === "session") return "session(...)";
  return field === "user" ? "authenticate(...) or bearerToken(...)" : `one marked as providing "${field}"`;
}

type Merged<Before, Adds> = Adds extends { readonly user: Present }
  ? Before extends { readonly user: infer User }
    ? Omit<Before, "user"> & { readonly user: NonNullable<User> }
    : Before & { readonly user: unknown }
  : Omit<Before, keyof Adds> & Adds;

/**
 * What a list of middleware has added when it is through. A plain function may add anything, and so may a
 * list that the compiler does not know: that is `never`, which is good for every need.
 */
export type AddedBy<List extends readonly unknown[], Before = object> = List extends readonly []
  ? Before
  : List extends readonly [infer First, ...infer Rest]
    ? [First] extends [MarkedMiddleware<infer Adds, never>]
      ? AddedBy<Rest, Merged<Before, Adds>>
      : never
    : never;

/** What a list needs of those before it. */
export type NeededBy<List extends readonly unknown[], Before = object> = List extends readonly [
  infer First,
  ...infer Rest,
]
  ? [First] extends [MarkedMiddleware<infer Adds, infer Needs>]
    ? Omit<Needs, keyof Before> & NeededBy<Rest, Merged<Before, Adds>>
    : unknown
  : unknown;

/** Nothing where nothing is missing; otherwise what no options have, which names what is missing. */
export type Complete<List extends readonly unknown[]> = [keyof NeededBy<List>] extends [never]
  ? unknown
  : { readonly middlewareLacks: keyof NeededBy<List> };

/** Whether somebody in the list demands a user. */
export type DemandsUser<List extends readonly unknown[]> = List extends readonly [infer First, ...infer Rest]
  ? [First] extends [MarkedMiddleware<{ readonly user: Present }, never>]
    ? true
    : DemandsUser<Rest>
  : false;
