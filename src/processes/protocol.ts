/**
 * What the processes of one machine say to each other over Node's channel between parent and child, which
 * must be set to `serialization: "advanced"`. Nothing here comes from clients but the texts and the bytes.
 */
import type { Serializable } from "node:child_process";

/** One end of the channel: `process` in a worker; a cluster worker or a child process in the primary. */
export interface Port {
  send?(message: Serializable, sent: (error: Error | null) => void): boolean;
  on(event: "message", listener: (message: unknown, handle?: unknown) => void): unknown;
  off(event: "message" | "disconnect", listener: (...args: never[]) => void): unknown;
  once(event: "disconnect", listener: () => void): unknown;
}

/** What a worker asks the hub for, in order; all but texts are answered by `done` with the same number. */
export type Request =
  | readonly [verb: "subscribe" | "unsubscribe", number: number, topic: string]
  | readonly [verb: "leave", number: number]
  | Text;

/** What the hub tells a worker, in order. */
export type Notice =
  | readonly [verb: "done", number: number]
  | readonly [verb: "unheard", topic: string]
  | readonly [verb: "missed", count: number, topic?: string]
  | Text;

export type Text = readonly [verb: "text", topic: string, text: string];

/** All that was said within one turn of the event loop. */
export interface Batch<Entry> {
  readonly sluice: "backplane";
  readonly entries: readonly Entry[];
}

/** From a worker to the primary. */
export type Report =
  /** It serves; `stopMs` is what its `stop` may take. */
  | { readonly sluice: "ready"; readonly stopMs: number }
  /** It is stopping: newcomers should go elsewhere. */
  | { readonly sluice: "leaving" }
  /** How many connections are open. Comes every second, so that the primary knows who is awake. */
  | { readonly sluice: "load"; readonly connections: number };

/** From a worker to the primary, for other workers. */
export type Passed =
  /** To all that serve. */
  { readonly sluice: "ask"; readonly number: number } | Answered;

/** To the one that has asked; null: it has nothing to tell. */
export interface Answered {
  readonly sluice: "answer";
  readonly to: number;
  readonly number: number;
  readonly text: string | null;
}

/** From the primary to a worker, for others or about them. */
export type Call =
  | { readonly sluice: "asked"; readonly by: number; readonly number: number }
  /** Who was asked. */
  | { readonly sluice: "expect"; readonly number: number; readonly processes: readonly number[] }
  | {
      readonly sluice: "answered";
      readonly by: number;
      readonly number: number;
      readonly text: string | null;
    };

/** From the primary to a worker, with the socket: the client's first bytes. */
export interface Handover {
  readonly sluice: "connection";
  readonly head: Uint8Array;
}

export function isBatch(message: unknown): message is Batch<never> {
  return kindOf(message) === "backplane";
}

export function isReport(message: unknown): message is Report {
  const kind = kindOf(message);
  return kind === "ready" || kind === "leaving" || kind === "load";
}

export function isPassed(message: unknown): message is Passed {
  const kind = kindOf(message);
  return kind === "ask" || kind === "answer";
}

export function isCall(message: unknown): message is Call {
  const kind = kindOf(message);
  return kind === "asked" || kind === "expect" || kind === "answered";
}

export function isHandover(message: unknown): message is Handover {
  return kindOf(message) === "connection";
}

function kindOf(message: unknown): unknown {
  return typeof message === "object" && message !== null && "sluice" in message ? message.sluice : undefined;
}

/** What a text on a topic costs on its way. */
export function bytesOf(topic: string, text: string): number {
  return topic.length + Buffer.byteLength(text);
}
