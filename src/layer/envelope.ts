/**
 * What layer traffic looks like on the backplane: one line of JSON that says what it is, and behind it
 * the payload's JSON as it is, so that a node passes an event on to its clients without parsing it.
 *
 * Nodes of different versions run side by side during an upgrade. New header fields are ignored by older
 * nodes; a kind that a node does not know is dropped and counted.
 */
import { decodePayload, deepFreeze } from "../payload.ts";
import { carrierOf, type TraceCarrier } from "../tracer.ts";
import type { EncodedPayload, Message } from "../types.ts";

export const ENVELOPE_VERSION = 1;

/** What belongs to a trace, if somebody follows it. */
interface Traced {
  readonly trace?: TraceCarrier | undefined;
}

/** What is in it, apart from the payload. */
export type Header =
  /** An event for the clients of a group's members. */
  | (Traced & {
      readonly kind: "emit";
      readonly event: string;
      readonly except?: readonly string[] | undefined;
    })
  /** A message for the mailboxes of a group's members. */
  | (Traced & { readonly kind: "send" })
  /** A message for one mailbox. */
  | (Traced & { readonly kind: "direct"; readonly channel: string })
  /** An entry of a group's log: the payload is the envelope that was appended. */
  | {
      readonly kind: "logged";
      readonly epoch: string;
      readonly offset: number;
      readonly id: string;
      readonly at: number;
    }
  /** Who came to the group and who left it: the payload lists the changes. */
  | { readonly kind: "presence" }
  /** To every node: end the connections of a user; the payload says whose, and why. */
  | { readonly kind: "closeUser" }
  /** A question of one node to another, and its answer. */
  | { readonly kind: "request"; readonly id: number; readonly verb: string }
  | { readonly kind: "reply"; readonly id: number; readonly failed?: boolean };

export type Envelope = { readonly from: string; readonly header: Header; readonly payload: EncodedPayload };

export function encodeEnvelope(from: string, header: Header, payload: EncodedPayload): string {
  const { json, attachments } = payload;
  const binary = attachments.map((part) => Buffer.from(part).toString("base64"));
  const line = JSON.stringify({
    v: ENVELOPE_VERSION,
    from,
    ...header,
    ...(binary.length > 0 ? { binary } : {}),
  });
  return `${line}\n${json}`;
}

/** The message in a payload; shared by all who get it, hence frozen. */
export function toMessage(payload: EncodedPayload): Message {
  return deepFreeze(decodePayload(payload)) as Message;
}

/** Undefined for what cannot be read: broken, or of a kind that this version does not know. */
export function decodeEnvelope(text: string): Envelope | undefined {
  const end = text.indexOf("\n");
  if (end < 0) return undefined;
  const fields = parseObject(text.slice(0, end));
  if (fields === undefined || typeof fields.from !== "string" || typeof fields.v !== "number") {
    return undefined;
  }
  const header = headerOf(fields);
  const binary = fields.binary ?? [];
  if (header === undefined || !isTextList(binary)) return undefined;
  const attachments = binary.map((part) => Buffer.from(part, "base64"));
  return { from: fields.from, header, payload: { json: text.slice(end + 1), attachments } };
}

function headerOf(fields: Readonly<Record<string, unknown>>): Header | undefined {
  const { kind, event, except, channel, id, verb, failed, epoch, offset, at } = fields;
  switch (kind) {
    case "emit":
      if (typeof event !== "string" || !(except === undefined || isTextList(except))) return undefined;
      return { kind, event, ...(except && { except }), ...traceOf(fields) };
    case "logged": {
      const isPosition = typeof epoch === "string" && typeof offset === "number" && typeof id === "string";
      return isPosition && typeof at === "number" ? { kind, epoch, offset, id, at } : undefined;
    }
    case "send":
      return { kind, ...traceOf(fields) };
    case "presence":
    case "closeUser":
      return { kind };
    case "direct":
      return typeof channel === "string" ? { kind, channel, ...traceOf(fields) } : undefined;
    case "request":
      return typeof id === "number" && typeof verb === "string" ? { kind, id, verb } : undefined;
    case "reply":
      return typeof id === "number" ? { kind, id, failed: failed === true } : undefined;
    default:
      return undefined;
  }
}

/** One that cannot be read is none: what it came with is heard all the same. */
function traceOf({ trace }: Readonly<Record<string, unknown>>): Traced | undefined {
  if (trace === undefined) return undefined;
  const carrier = carrierOf(trace);
  return carrier && { trace: carrier };
}

function parseObject(json: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((part) => typeof part === "string");
}
