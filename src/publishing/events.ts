/** What a request asks to be published, read from its JSON. */
import { InvalidMessage, type Issue, nearest } from "../index.ts";

/** One event for one group. Names are not checked yet: the layer does that. */
export interface PublishedEvent {
  readonly group: string;
  readonly event: string;
  readonly payload: unknown;
  /** Channels whose clients do not get it. */
  readonly except: readonly string[];
  /** The sender's own name for it: the same client publishes it to the group only once. */
  readonly id: string | undefined;
}

const FIELDS = ["event", "payload", "except", "id"];
const BATCH_FIELDS = ["group", ...FIELDS];
const MAX_EXCEPT = 100;
/** Names that senders choose for their requests and events. */
export const SENDERS_NAME = /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/;

/** @throws InvalidMessage */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new InvalidMessage("the request's body is no JSON in UTF-8");
  }
}

/**
 * @param group - where the address says it; otherwise the event does
 * @throws InvalidMessage that lists every fault
 */
export function readEvent(value: unknown, group?: string): PublishedEvent {
  const fields = group === undefined ? BATCH_FIELDS : FIELDS;
  const form = `{ ${fields.map((name) => (name === "event" || name === "group" ? name : `${name}?`)).join(", ")} }`;
  if (!isObject(value)) throw new InvalidMessage(`an event is an object ${form}`);
  const issues: Issue[] = [];
  const issue = (path: string, message: string) => void issues.push({ path, message });
  for (const name of Object.keys(value)) {
    if (fields.includes(name)) continue;
    const meant = nearest(name.slice(0, 100), fields);
    issue(name.slice(0, 100), meant === undefined ? "is no field" : `is no field; did you mean "${meant}"?`);
    if (issues.length >= fields.length) break;
  }
  const given = value as { event?: unknown; group?: unknown; except?: unknown; id?: unknown };
  if (typeof given.event !== "string") issue("event", "must be text");
  if (group === undefined && typeof given.group !== "string") issue("group", "must be text");
  const except = typeof given.except === "string" ? [given.except] : (given.except ?? []);
  const isList = Array.isArray(except) && except.every((channel) => typeof channel === "string");
  if (!isList) issue("except", "must be a channel or a list of channels");
  else if (except.length > MAX_EXCEPT) issue("except", `must be at most ${MAX_EXCEPT} channels`);
  const { id } = given;
  if (id !== undefined && !(typeof id === "string" && SENDERS_NAME.test(id))) {
    issue("id", 'must be text of 1 to 128 visible ASCII characters without " and \\');
  }
  if (issues.length > 0) throw new InvalidMessage(`an event is ${form}; see the details`, issues);
  return {
    group: group ?? (given.group as string),
    event: given.event as string,
    payload: value.payload,
    except: except as readonly string[],
    id: id as string | undefined,
  };
}

/**
 * The events of a batch, unread.
 *
 * @throws InvalidMessage when it is no batch
 */
export function readBatch(value: unknown): readonly unknown[] {
  const isBatch =
    isObject(value) &&
    Object.keys(value).length === 1 &&
    Object.hasOwn(value, "events") &&
    Array.isArray(value.events);
  if (!isBatch)
    throw new InvalidMessage('a batch is { "events": [{ group, event, payload?, except?, id? }] }');
  const events = value.events as readonly unknown[];
  if (events.length === 0) throw new InvalidMessage("a batch needs at least one event");
  return events;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
