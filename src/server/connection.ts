import type { Runner } from "../consumer/runner.ts";
import { AGED, connectionLost, FLOOD, TOO_SLOW } from "../reasons.ts";
import type { Allowances, Budget, DisconnectReason } from "../types.ts";
import type { AddressPlace } from "./addresses.ts";
import { atAge } from "./draining.ts";
import {
  bufferedBytes,
  cut,
  type EngineSocket,
  endClosing,
  endClosingAtUpgrade,
  isFlowing,
  onNextPoll,
  onUpgradeFailed,
  sendNow,
  waitingPackets,
} from "./engine-internals.ts";
import type { SocketFrame } from "./frames.ts";
import type { RequestLine } from "./scope.ts";
import type { Sequence, Turn } from "./turn.ts";

/** Of one client: more leaves before the end of the turn. */
const MAX_OUTGOING_BYTES = 65_536;

export interface ConnectionLimits {
  readonly maxWaitingBytes: number;
  /** Refused events after which it is closed. */
  readonly floodEvents: number;
  /** How long a connection may stay without any route open on it. */
  readonly idleTimeoutMs: number;
  /** How soon a client must poll again after its upgrade to WebSocket has failed. */
  readonly pollTimeoutMs: number;
  /** After about so long it ends; 0: never. */
  readonly maxAgeMs: number;
}

const NONE: readonly Runner[] = [];

/** What all connections of a carrier share. */
export interface ConnectionOwner {
  readonly limits: ConnectionLimits;
  readonly turn: Turn;
}

export interface Packet {
  readonly data?: unknown;
  readonly options?: { readonly wsPreEncodedFrame?: readonly Buffer[] };
}

/**
 * One transport connection (a WebSocket, or a polling session) and the routes that are open on it, each
 * with a runner. It watches how many bytes wait for the client, whoever wrote them, and cuts a client
 * that does not read.
 */
export class Connection {
  /** Allowance of events, shared by all routes. */
  readonly events: Budget;
  readonly allowances: Allowances;
  readonly remoteAddress: string;
  /** The one it began with. */
  readonly request: RequestLine;
  readonly #conn: EngineSocket;
  readonly #place: AddressPlace | undefined;
  readonly #owner: ConnectionOwner;
  /** Of one route each. */
  #runners: readonly Runner[] = NONE;
  /** Routes that end with "come back later", and how to end each without the others. */
  #leaving: Map<string, () => void> | undefined;
  /** Bytes in Engine.IO's buffer `#buffer`. */
  #waitingBytes = 0;
  #buffer: unknown;
  /** What leaves at the end of this turn; everything else that is sent makes it leave first. */
  #outgoing: Sequence | undefined;
  /** Questions that the client may still answer. */
  #unanswered = 0;
  #idleTimer: NodeJS.Timeout | undefined;
  #pollTimer: NodeJS.Timeout | undefined;
  readonly #forgetAge: () => void;

  constructor(
    conn: EngineSocket,
    request: RequestLine,
    remoteAddress: string,
    events: Budget,
    allowances: Allowances,
    place: AddressPlace | undefined,
    owner: ConnectionOwner,
  ) {
    this.#conn = conn;
    this.#owner = owner;
    this.request = request;
    this.remoteAddress = remoteAddress;
    this.events = events;
    this.allowances = allowances;
    this.#place = place;
    onUpgradeFailed(conn, () => this.#expectPoll());
    endClosingAtUpgrade(conn);
    this.#idle();
    this.#forgetAge = atAge(owner.limits.maxAgeMs, () => this.close(AGED));
  }

  get isOpen(): boolean {
    return this.#conn.readyState === "open";
  }

  get runners(): readonly Runner[] {
    return this.#runners;
  }

  /** Bytes that wait for the client, here, in Engine.IO and below it. */
  get waitingBytes(): number {
    const isWaiting = waitingPackets(this.#conn) === this.#buffer && !isFlowing(this.#conn);
    const outgoing = this.#outgoing?.bytes ?? 0;
    return outgoing + (isWaiting ? this.#waitingBytes : 0) + bufferedBytes(this.#conn);
  }

  /** To the client, in order with all that Socket.IO and Engine.IO send it. */
  write(frame: SocketFrame): void {
    this.#outgoing = (this.#outgoing ?? this.#owner.turn.begin(this)).with(frame);
    if (this.#outgoing.bytes >= MAX_OUTGOING_BYTES) this.flush();
  }

  /** What waits for the end of the turn leaves now. */
  flush(): void {
    const outgoing = this.#outgoing;
    if (outgoing === undefined) return;
    this.#outgoing = undefined;
    this.#wrote(outgoing.bytes);
    if (sendNow(this.#conn, outgoing.joined)) return;
    for (const frame of outgoing.frames) this.#writePacket(frame);
  }

  #wrote(bytes: number): void {
    const { tally } = this.#owner.turn;
    tally.writes += 1;
    tally.writtenBytes += bytes;
  }

  #writePacket({ parts, options }: SocketFrame): void {
    for (const part of parts) this.#conn.write(part, options as Parameters<EngineSocket["write"]>[1]);
  }

  /** Spends one of the client's events on opening a route; a flood of that ends the connection. */
  takeEvent(): boolean {
    if (this.events.take()) return true;
    if (this.events.refusals > this.#owner.limits.floodEvents) this.close(FLOOD);
    return false;
  }

  /** The client was asked something. */
  asked(): void {
    this.#unanswered += 1;
  }

  /** It has answered; an answer to nothing counts as an event. */
  answered(): void {
    if (this.#unanswered > 0) this.#unanswered -= 1;
    else this.takeEvent();
  }

  /** Ends all routes for that reason, and the transport after what they say last. */
  close(reason: DisconnectReason): void {
    for (const runner of this.#runners) runner.end(reason);
    this.flush();
    queueMicrotask(() => this.#conn.close());
  }

  runnerOf(namespace: string): Runner | undefined {
    return this.#runners.find((runner) => runner.namespace === namespace);
  }

  /** In the place of an older one for the same namespace. */
  add(runner: Runner): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = undefined;
    const others = this.#runners.filter(({ namespace }) => namespace !== runner.namespace);
    // Most have one; a list that is spread has room for sixteen more.
    this.#runners = others.length === 0 ? [runner] : [...others, runner];
  }

  /** The route is closed or was refused; a connection without any is closed after a while. */
  remove(runner: Runner): void {
    if (!this.#runners.includes(runner)) return;
    this.#runners = this.#runners.filter((other) => other !== runner);
    if (this.#runners.length === 0 && this.isOpen) this.#idle();
  }

  #idle(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.#conn.close(), this.#owner.limits.idleTimeoutMs);
  }

  /**
   * A route ends, and its client may come back later. A stock client does that by itself when its
   * transport closes, and only then; so if all routes end in this moment, the transport is closed,
   * otherwise this route alone.
   */
  leave(namespace: string, disconnect: () => void): void {
    this.#leaving ??= new Map();
    this.#leaving.set(namespace, disconnect);
    if (this.#leaving.size === 1) queueMicrotask(() => this.#leaveTogether());
  }

  #leaveTogether(): void {
    const leaving = [...(this.#leaving?.values() ?? [])];
    this.#leaving = undefined;
    const isLeft = this.#runners.every((runner) => runner.reason !== undefined);
    if (isLeft) this.#conn.close();
    else for (const disconnect of leaving) disconnect();
  }

  /** A client that vanished in its upgrade has no poll open whose end would tell; so it must poll again. */
  #expectPoll(): void {
    clearTimeout(this.#pollTimer);
    this.#pollTimer = setTimeout(() => cut(this.#conn), this.#owner.limits.pollTimeoutMs);
    onNextPoll(this.#conn, () => clearTimeout(this.#pollTimer));
  }

  /** Socket.IO or Engine.IO is about to send that. */
  created(packet: Packet): void {
    this.flush();
    if (isFlowing(this.#conn)) return;
    const buffer = waitingPackets(this.#conn);
    if (buffer !== this.#buffer) {
      this.#buffer = buffer;
      this.#waitingBytes = 0;
    }
    this.#waitingBytes += sizeOf(packet);
    if (this.#waitingBytes + bufferedBytes(this.#conn) > this.#owner.limits.maxWaitingBytes) this.#cut();
  }

  #cut(): void {
    this.#end(TOO_SLOW);
    // Not within the write that Engine.IO is about to make.
    queueMicrotask(() => cut(this.#conn));
  }

  /** Its transport is gone. */
  lost(reason: string): void {
    clearTimeout(this.#idleTimer);
    clearTimeout(this.#pollTimer);
    endClosing(this.#conn);
    this.#forgetAge();
    this.#place?.leave();
    this.#outgoing = undefined;
    this.#end(connectionLost(reason));
  }

  #end(reason: DisconnectReason): void {
    const runners = this.#runners;
    this.#runners = NONE;
    for (const runner of runners) runner.lost(reason);
  }
}

function sizeOf({ data, options }: Packet): number {
  const frame = options?.wsPreEncodedFrame?.[0];
  if (frame !== undefined) return frame.length;
  if (typeof data === "string") return Buffer.byteLength(data);
  return data instanceof Uint8Array ? data.byteLength : 0;
}
