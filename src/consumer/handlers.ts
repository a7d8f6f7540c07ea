/**
 * What may be called from outside, decided once per class: a name that comes in is looked up in these
 * tables and never on the object, so it can reach neither `constructor` nor a hook nor a verb.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { ConfigurationError, InvalidMessage, type Issue } from "../errors.ts";
import { checkEventName, checkGroupName, messageTypeOf, printable } from "../names.ts";
import type { Message, Scope } from "../types.ts";

export type EventHandler = (consumer: object, payload: unknown) => unknown;
type MessageHandler = (this: object, message: Message) => unknown;

export interface EventRow {
  readonly schema: StandardSchemaV1 | undefined;
  readonly handler: EventHandler;
}

/** How a class' payloads look on the wire, if not as they are; both ways what comes out goes through JSON. */
export interface PayloadCodec {
  encode(payload: unknown): unknown;
  /** What it throws is the client's fault: the event is refused. */
  decode(payload: unknown): unknown;
}

export interface HandlerTable {
  readonly events: ReadonlyMap<string, EventRow>;
  readonly messages: ReadonlyMap<string, MessageHandler>;
  readonly concurrency: number;
  /** Undefined: as the application says. */
  readonly mailbox: number | undefined;
  readonly codec: PayloadCodec | undefined;
  groupsOf(scope: Scope): readonly string[];
}

/** The static side of a consumer class, as far as the tables need it. */
interface Described {
  readonly name: string;
  readonly prototype: object;
  readonly groups?: unknown;
  readonly events?: unknown;
  readonly concurrency?: unknown;
  readonly mailbox?: unknown;
  readonly codec?: unknown;
}

/**
 * @param consumer - the class
 * @param base - `Consumer.prototype`: what it has is never a handler
 * @throws ConfigurationError that lists all that is wrong with the class
 */
export function handlerTable(consumer: Described, base: object): HandlerTable {
  const faults: string[] = [];
  const table = {
    events: eventRows(consumer, faults),
    messages: messageHandlers(consumer, base, faults),
    concurrency: countOf("concurrency", consumer, faults) ?? 1,
    mailbox: countOf("mailbox", consumer, faults),
    codec: codecOf(consumer, faults),
    groupsOf: groupsOf(consumer, faults),
  };
  if (faults.length > 0) throw new ConfigurationError(faults);
  return table;
}

/**
 * Which of a class' methods handle which type of message: `thumbnailMake` is `thumbnail.make`.
 *
 * @param base - what it has is never a handler
 * @throws ConfigurationError
 */
export function messageTable(
  described: { readonly name: string; readonly prototype: object },
  base: object,
): HandlerTable["messages"] {
  const faults: string[] = [];
  const table = messageHandlers(described, base, faults);
  if (faults.length > 0) throw new ConfigurationError(faults);
  return table;
}

function eventRows({ name, events = {} }: Described, faults: string[]): ReadonlyMap<string, EventRow> {
  const rows = new Map<string, EventRow>();
  if (typeof events !== "object" || events === null) {
    faults.push(`${name}.events must be an object such as { say: { schema, handler } }`);
    return rows;
  }
  for (const [event, row] of Object.entries(events) as [string, Partial<EventRow> | undefined][]) {
    try {
      checkEventName(event);
    } catch (error) {
      faults.push(`${name}.events: ${(error as Error).message}`);
    }
    if (typeof row?.handler !== "function") {
      faults.push(`${name}.events.${event} needs a handler: (consumer, payload) => ...`);
    } else if (row.schema !== undefined && typeof row.schema["~standard"]?.validate !== "function") {
      faults.push(`${name}.events.${event}.schema must be a Standard Schema (zod, valibot, arktype, ...)`);
    } else {
      rows.set(event, { schema: row.schema, handler: row.handler });
    }
  }
  return rows;
}

/** The author's own methods whose names are types, those of classes between it and the base included. */
function messageHandlers({ name, prototype }: Described, base: object, faults: string[]) {
  const handlers = new Map<string, MessageHandler>();
  const methods = new Map<string, string>();
  for (let level = prototype; level !== base && level !== Object.prototype; level = parentOf(level)) {
    for (const [method, { value }] of Object.entries(Object.getOwnPropertyDescriptors(level))) {
      const type = messageTypeOf(method);
      if (type === undefined || typeof value !== "function" || method in base) continue;
      const other = methods.get(type);
      if (other === method) continue;
      if (other !== undefined) {
        faults.push(`${name}: the methods ${other} and ${method} both handle "${type}"; rename one`);
      }
      methods.set(type, method);
      handlers.set(type, value as MessageHandler);
    }
  }
  return handlers;
}

function parentOf(prototype: object): object {
  return (Object.getPrototypeOf(prototype) as object | null) ?? Object.prototype;
}

function codecOf({ name, codec }: Described, faults: string[]): PayloadCodec | undefined {
  const { encode, decode } = (codec ?? {}) as Partial<PayloadCodec>;
  const isCodec = typeof encode === "function" && typeof decode === "function";
  if (codec !== undefined && !isCodec) {
    faults.push(`${name}.codec must be { encode(payload), decode(payload) }`);
  }
  return isCodec ? (codec as PayloadCodec) : undefined;
}

function countOf(what: "concurrency" | "mailbox", consumer: Described, faults: string[]): number | undefined {
  const count = consumer[what];
  if (count === undefined) return undefined;
  if (typeof count === "number" && Number.isInteger(count) && count >= 1) return count;
  faults.push(`${consumer.name}.${what} must be a whole number of at least 1, not ${String(count)}`);
  return undefined;
}

function groupsOf({ name, groups = [] }: Described, faults: string[]): (scope: Scope) => readonly string[] {
  if (typeof groups === "function") return groups as (scope: Scope) => readonly string[];
  if (Array.isArray(groups)) {
    for (const group of groups as readonly string[]) {
      try {
        checkGroupName(group);
      } catch (error) {
        faults.push(`${name}.groups: ${(error as Error).message}`);
      }
    }
    return () => groups as readonly string[];
  }
  faults.push(`${name}.groups must be a list of names or a function (scope) => names`);
  return () => [];
}

/** @throws InvalidMessage; TypeError if the schema can only validate asynchronously */
export function validateNow<S extends StandardSchemaV1>(
  schema: S,
  payload: unknown,
): StandardSchemaV1.InferOutput<S> {
  const result = stumbling(() => schema["~standard"].validate(payload));
  if (result instanceof Promise) {
    // Nobody else hears that it rejects.
    result.catch(() => {});
    checkStumble(schema, payload);
    throw new TypeError(
      "this schema validates asynchronously: put it into static events, which waits for it",
    );
  }
  return outputOf(result);
}

/** The valid payload, or a promise of it if the schema needs time. Throws or rejects with InvalidMessage. */
export function validated(schema: StandardSchemaV1, payload: unknown): unknown {
  const result = stumbling(() => schema["~standard"].validate(payload));
  if (!isThenable(result)) return outputOf(result);
  return Promise.resolve(result).then(outputOf, (error) => {
    throw stumbled(error);
  });
}

/**
 * Checks by any Standard Schema, also one that needs time. Resolves with what the schema makes of the
 * payload.
 *
 * @throws InvalidMessage with the issues
 */
export async function validateLater(schema: StandardSchemaV1, payload: unknown): Promise<unknown> {
  return validated(schema, payload);
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}

/**
 * Zod hides over what it stumbled, and begins again, asynchronously; asked in its own way it tells.
 *
 * @throws InvalidMessage
 */
function checkStumble(schema: StandardSchemaV1 & { safeParse?: unknown }, payload: unknown): void {
  if (typeof schema.safeParse !== "function") return;
  try {
    schema.safeParse(payload);
  } catch (error) {
    const reason = stumbled(error);
    if (reason instanceof InvalidMessage) throw reason;
  }
}

function stumbling<T>(validate: () => T): T {
  try {
    return validate();
  } catch (error) {
    throw stumbled(error);
  }
}

/**
 * Schemas compare and convert what they have not looked at yet, e.g. `{ "toString": 1 }` with a number, and
 * break on it. That is the payload's fault; what else they throw, a look-up that failed say, is theirs.
 */
function stumbled(error: unknown): unknown {
  if (!(error instanceof TypeError || error instanceof RangeError)) return error;
  return new InvalidMessage("the payload is not valid: it cannot be checked");
}

function outputOf<Output>(result: StandardSchemaV1.Result<Output>): Output {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.slice(0, 20).map(toIssue);
  const [first] = issues;
  const where = first?.path ? `${first.path}: ` : "";
  throw new InvalidMessage(`the payload is not valid: ${where}${first?.message ?? "refused"}`, issues);
}

function toIssue({ message, path = [] }: StandardSchemaV1.Issue): Issue {
  const keys = path.map((part) => String(typeof part === "object" ? part.key : part));
  // Schemas may quote what they refuse; what is said back stays small.
  return { path: printable(keys.join(".")), message: printable(message, 200) };
}
