import { InvalidMessage, NoHandler, RateLimited } from "../errors.ts";
import { checkGroupName } from "../names.ts";
import { decodePayload } from "../payload.ts";
import { decodeEnvelope } from "./envelope.ts";
import type { Member } from "./fan-out.ts";
import type { HistoryStore, LogEntry } from "./history-store.ts";
import { MAX_OUTSTANDING_BYTES } from "./replay.ts";

/** Which part of a history is asked for. */
export interface HistoryOptions {
  /** Default 50, at most 1,000. */
  readonly limit?: number;
  /** Messages before this offset; without it the last ones. */
  readonly before?: number;
}

/** A message of a group's history. */
export interface HistoryMessage {
  readonly offset: number;
  readonly id: string;
  /** Milliseconds since 1970, by the store's clock. */
  readonly at: number;
  /** The event's name, if it went to the members' clients by `groupEmit`. */
  readonly event?: string;
  /** The event's payload, or the message that went to the members' handlers by `groupSend`. */
  readonly payload: unknown;
}

/** A part of a group's history. */
export interface History {
  /** Empty when nothing was ever published, or all is forgotten. */
  readonly epoch: string;
  /** Oldest first. */
  readonly messages: readonly HistoryMessage[];
  /** Whether there are older ones. */
  readonly more: boolean;
}

/** The groups that are read. */
export interface ReadableGroups {
  readonly store: HistoryStore;
  keepsHistory(group: string): boolean;
  /** From where a member of this node may read, if it is one and its client may read at all. */
  readableSince(group: string, channel: string): number | undefined;
}

const USUAL = 50;
const MAX_FOR_SERVERS = 1_000;
const MAX_FOR_CLIENTS = 100;

/** Reads what was sent to groups that keep history. */
export class HistoryReading {
  readonly #groups: ReadableGroups | undefined;

  /** @param groups - nothing where none keeps any */
  constructor(groups: ReadableGroups | undefined) {
    this.#groups = groups;
  }

  /** For the application. Throws as `ChannelLayer.history` does. */
  async read(group: string, { limit = USUAL, before }: HistoryOptions): Promise<History> {
    checkReading(limit, before, MAX_FOR_SERVERS);
    if (!this.#groups?.keepsHistory(group)) {
      throw new NoHandler(
        `the group "${group}" keeps no history; give it a policy (options groups and history)`,
      );
    }
    const { top, entries } = await this.#groups.store.readBefore(group, before, limit + 1);
    const messages = entries.slice(-limit).flatMap(toHistoryMessage);
    return { epoch: top?.epoch ?? "", messages, more: entries.length > limit };
  }

  /**
   * For a client: what came after its consumer was let in.
   *
   * @throws InvalidName, InvalidMessage, NoHandler, RateLimited, LayerUnavailable
   */
  async readForClient(member: Member, asked: unknown): Promise<History> {
    const { group, limit = USUAL, before } = (asked ?? {}) as { group?: unknown } & HistoryOptions;
    const name = checkGroupName(group as string);
    checkReading(limit, before, MAX_FOR_CLIENTS);
    const since = this.#groups?.readableSince(name, member.channel);
    if (this.#groups === undefined || since === undefined) {
      throw new NoHandler("the history of this group is not for you, or there is none");
    }
    let [border, most] = [before, limit];
    for (;;) {
      if (!member.mayBeGiven(most)) throw new RateLimited("too much is read; try again in a second");
      const { epoch, messages, more } = await this.#readSome(this.#groups.store, name, most, border, since);
      // Messages between consumers are not for clients. Nothing but those would not say how to go on.
      const events = messages.filter(({ event }) => event !== undefined);
      const [oldest] = messages;
      if (events.length > 0 || !more || oldest === undefined) {
        return { epoch, messages: events.slice(-limit), more: more || events.length > limit };
      }
      [border, most] = [oldest.offset, MAX_FOR_CLIENTS];
    }
  }

  /** No more bytes than may wait for a client at once, but one message in any case; none up to `since`. */
  async #readSome(
    store: HistoryStore,
    group: string,
    limit: number,
    before: number | undefined,
    since: number,
  ): Promise<History> {
    const { top, entries } = await store.readBefore(group, before, limit + 1);
    const allowed = entries.filter(({ offset }) => offset > since);
    let [first, bytes] = [allowed.length, 0];
    for (const { text } of allowed.slice(-limit).reverse()) {
      bytes += Buffer.byteLength(text);
      if (bytes > MAX_OUTSTANDING_BYTES && first < allowed.length) break;
      first -= 1;
    }
    const messages = allowed.slice(first).flatMap(toHistoryMessage);
    return { epoch: top?.epoch ?? "", messages, more: first > 0 };
  }
}

function checkReading(limit: unknown, before: unknown, most: number): void {
  const isCount = (value: unknown) => typeof value === "number" && Number.isSafeInteger(value) && value >= 1;
  if (!isCount(limit) || (limit as number) > most) throw new InvalidMessage(`limit must be 1 to ${most}`);
  if (before !== undefined && !isCount(before))
    throw new InvalidMessage("before must be an offset, 1 or more");
}

function toHistoryMessage({ offset, id, at, text }: LogEntry): readonly HistoryMessage[] {
  const envelope = decodeEnvelope(text);
  if (envelope === undefined) return [];
  const { header, payload } = envelope;
  const event = header.kind === "emit" ? { event: header.event } : {};
  return [{ offset, id, at, ...event, payload: decodePayload(payload) }];
}
