import { CloseCode, ConfigurationError, checkCloseCode, LayerUnavailable, NoHandler } from "../errors.ts";
import type { Facts } from "../facts.ts";
import {
  checkChannelName,
  checkEventName,
  checkGroupName,
  checkMessageType,
  checkReservedName,
  isGroupName,
  nobodyTakes,
  nodeOf,
} from "../names.ts";
import { encodePayload } from "../payload.ts";
import type { LayerReadings } from "../readings.ts";
import type { Soon } from "../soon.ts";
import { Tally } from "../tally.ts";
import type { TraceCarrier, Tracer } from "../tracer.ts";
import type { Backplane, EncodedPayload, Message } from "../types.ts";
import { Ear } from "./ear.ts";
import { encodeEnvelope, type Header, toMessage } from "./envelope.ts";
import { FanOut, type Member } from "./fan-out.ts";
import type { PolicyTable } from "./group-policy.ts";
import { Hearing } from "./hearing.ts";
import { type History, type HistoryOptions, HistoryReading } from "./history-reading.ts";
import type { HistoryStore, Position } from "./history-store.ts";
import { type Closing, LocalChannels } from "./local-channels.ts";
import { LoggedGroups } from "./logged-groups.ts";
import { NodeRequests } from "./node-requests.ts";
import { Presence, type PresenceOptions } from "./presence.ts";
import type { PresentUser } from "./presence-words.ts";
import type { Receipts } from "./receipts.ts";
import { RemoteChannels } from "./remote-channels.ts";
import { Subscriptions } from "./subscriptions.ts";
import { ALL_NODES, groupTopic, nodeTopic } from "./topics.ts";

export interface ChannelLayerOptions {
  /** Which of its application's layers it is; `default` if there is one only. */
  readonly name?: string;
  /** This node's name; unique among the nodes on the backplane, a new one for each start. */
  readonly node: string;
  readonly backplane: Backplane;
  readonly facts: Facts;
  /** The most bytes one message or event may have as JSON with its binary parts. */
  readonly maxMessageBytes: number;
  /** For groups whose policy keeps history; without it there are none. */
  readonly history?: {
    readonly store: HistoryStore;
    readonly policies: PolicyTable;
    readonly receipts: Receipts;
  };
  /** For groups whose policy keeps presence; without it there are none. */
  readonly presence?: Pick<PresenceOptions, "store" | "policies" | "limits">;
  /** Counts for all layers of an application. */
  readonly tally?: Tally;
  /** Follows what is sent; undefined: nobody does. */
  readonly tracer?: Tracer | undefined;
}

/** How much a layer keeps. */
export interface LayerSizes {
  readonly channels: number;
  readonly groups: number;
  readonly topics: number;
  /** Of groups with history that are in use here. */
  readonly logs: number;
  /** Groups with presence that are in use here, or that somebody of this node is in. */
  readonly presence: number;
}

/** A group as one node knows it. */
export interface GroupHere {
  readonly members: number;
  readonly last: readonly Member[];
  /** Up to where this node has heard its history, and how much of it is kept; where it follows one. */
  readonly log?: Position & { readonly size: number; readonly ttlMs: number };
}

/** How a message is sent to a group. */
export interface SendOptions {
  /**
   * In groups with history: a message sent under the same key before (within some minutes) is not sent
   * again, so that whoever does not know whether it was sent may send it again.
   */
  readonly idempotencyKey?: string;
}

interface EmitOptions extends SendOptions {
  readonly except?: string | readonly string[];
}

/**
 * Channels and groups as this node sees them.
 *
 * Handlers of members on this node get what is sent at once, within the call, and clients soon after, when the
 * backplane has it: that carries it to the others.
 * Delivery is at most once and, per sender and group, in order. `groupSend` and `groupEmit` resolve when
 * the message is handed over here; that says nothing about remote members. A group that keeps history is
 * another matter: its messages are appended to a log first, and lossless in one order for all members.
 */
export class ChannelLayer {
  /** Which of its application's layers it is. */
  readonly name: string;
  readonly node: string;
  readonly #backplane: Backplane;
  readonly #facts: Facts;
  readonly #maxMessageBytes: number;
  readonly #subscriptions: Subscriptions;
  readonly #requests: NodeRequests;
  readonly #tally: Tally;
  readonly #fanOut: FanOut;
  readonly #logged: LoggedGroups | undefined;
  readonly #presence: Presence | undefined;
  readonly #channels: LocalChannels;
  readonly #elsewhere: RemoteChannels;
  readonly #reading: HistoryReading;
  readonly #hearing: Hearing;
  readonly #tracer: Tracer | undefined;
  /** Channels that belong to no connection. */
  readonly #named = new Map<string, (message: Message) => Promise<void>>();
  /** Who listens here to groups of the framework's own; none of it is traffic of the application. */
  readonly #ears = new FanOut();
  #earNumber = 0;
  #state: "new" | "open" | "closed" = "new";

  constructor({
    name = "default",
    node,
    backplane,
    facts,
    maxMessageBytes,
    history,
    presence,
    tally = new Tally(),
    tracer,
  }: ChannelLayerOptions) {
    this.#tracer = tracer;
    this.#tally = tally;
    this.#fanOut = new FanOut(tally);
    this.name = name;
    this.node = node;
    this.#backplane = backplane;
    this.#facts = facts;
    this.#maxMessageBytes = maxMessageBytes;
    this.#subscriptions = new Subscriptions(backplane);
    this.#logged =
      history &&
      new LoggedGroups({
        ...history,
        fanOut: this.#fanOut,
        facts,
        tally,
        tracer,
        presence: {
          follow: (group, json, position) => this.#presence?.follow(group, json, position),
          tidings: (group, json) => this.#presence?.tidings(group, json),
          lost: (group) => this.#presence?.lost(group),
        },
        announce: (group, header, json) =>
          this.#publish(groupTopic(group), header, { json, attachments: [] }),
      });
    this.#presence =
      presence &&
      new Presence({
        ...{ ...presence, node, facts, followed: this.#logged, held: this.#fanOut },
        header: encodeEnvelope(node, { kind: "presence" }, { json: "", attachments: [] }),
        announce: (group, json) =>
          this.#publish(groupTopic(group), { kind: "presence" }, { json, attachments: [] }),
        flush: () => this.#backplane.flush(),
      });
    this.#requests = new NodeRequests(
      (to, header, payload) => this.#publish(nodeTopic(to), header, payload),
      maxMessageBytes,
      (error) => facts.failed.announce({ hook: "layer", error }),
    );
    const [fanOut, logged, present, requests] = [this.#fanOut, this.#logged, this.#presence, this.#requests];
    const here = { fanOut, logged, presence: present, facts };
    const channels = new LocalChannels({ ...here, subscriptions: this.#subscriptions });
    this.#channels = channels;
    this.#elsewhere = new RemoteChannels(requests, channels);
    this.#reading = new HistoryReading(logged);
    const heard = { ...here, ears: this.#ears, layer: name };
    this.#hearing = new Hearing({ ...heard, channels, requests, tally, tracer });
  }

  async open(): Promise<void> {
    if (this.#state !== "new")
      throw new LayerUnavailable(`a channel layer opens once; this one is ${this.#state}`);
    this.#state = "open";
    await this.#logged?.open();
    await this.#backplane.open(this.#hearing);
    await Promise.all([nodeTopic(this.node), ALL_NODES].map((topic) => this.#subscriptions.acquire(topic)));
    await this.#presence?.open();
  }

  async close(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#requests.close();
    await this.#presence?.close();
    await this.#backplane.close();
    await this.#logged?.close();
  }

  /** Whether other nodes cannot be reached at present. Members of groups on this node go on. */
  get isDegraded(): boolean {
    return this.#hearing.isDegraded;
  }

  /**
   * Resolves when everything sent before has left this node; rejects with LayerUnavailable when some of it
   * was dropped. For programs that send and end; a server has no need of it.
   */
  flush(): Promise<void> {
    this.#checkOpen();
    return this.#backplane.flush();
  }

  /**
   * Puts a channel into a group, also one of another node. Resolved: every message that any node sends to
   * the group later reaches it.
   *
   * @throws InvalidName; ConnectionClosed if there is no such channel; LayerUnavailable
   */
  async groupAdd(group: string, channel: string): Promise<void> {
    checkGroupName(group);
    checkChannelName(channel);
    this.#checkOpen();
    if (nodeOf(channel) !== this.node) return this.#elsewhere.groupAdd(group, channel);
    return this.#channels.groupAdd(group, channel);
  }

  /** Takes a channel out of a group. Resolved: nothing that is sent to the group reaches it any more. */
  async groupDiscard(group: string, channel: string): Promise<void> {
    checkGroupName(group);
    checkChannelName(channel);
    this.#checkOpen();
    if (nodeOf(channel) !== this.node) return this.#elsewhere.groupDiscard(group, channel);
    this.#channels.groupDiscard(group, channel);
  }

  /**
   * Runs the handler of the message's type on every consumer in the group, on every node.
   *
   * Resolves when it is handed over here; in a group with history, when it is appended.
   *
   * @throws InvalidName, InvalidMessage, MessageTooLarge; LayerUnavailable if it could not be appended
   */
  groupSend(group: string, message: Message, options: SendOptions = {}): Promise<void> {
    if (this.#tracer === undefined) return this.#groupSend(group, message, options, undefined);
    const sending = {
      verb: "groupSend",
      what: message?.type,
      group,
      members: this.#fanOut.count(group),
    } as const;
    return this.#tracer.sends(sending, (trace) => this.#groupSend(group, message, options, trace));
  }

  async #groupSend(
    group: string,
    message: Message,
    options: SendOptions,
    trace: TraceCarrier | undefined,
  ): Promise<void> {
    checkGroupName(group);
    const payload = this.#encodeMessage(message);
    this.#checkOpen();
    const header: Header = { kind: "send", trace };
    if (this.#logged?.keepsHistory(group)) {
      await this.#logged.publish(group, encodeEnvelope(this.node, header, payload), options.idempotencyKey);
    } else {
      this.#publish(groupTopic(group), header, payload);
      if (this.#fanOut.count(group) > 0) this.#fanOut.send(group, toMessage(payload));
    }
    this.#announceSent(group, message.type);
  }

  /**
   * Sends an event straight to the clients of the group's members, on every node. Resolves as
   * {@link groupSend} does.
   *
   * @param options - `except`: channels whose clients do not get it
   */
  groupEmit(group: string, event: string, payload?: unknown, options: EmitOptions = {}): Promise<void> {
    if (this.#tracer === undefined) return this.#groupEmit(group, event, payload, options, undefined);
    const sending = { verb: "groupEmit", what: event, group, members: this.#fanOut.count(group) } as const;
    return this.#tracer.sends(sending, (trace) => this.#groupEmit(group, event, payload, options, trace));
  }

  async #groupEmit(
    group: string,
    event: string,
    payload: unknown,
    options: EmitOptions,
    trace: TraceCarrier | undefined,
  ): Promise<void> {
    checkGroupName(group);
    checkEventName(event);
    const encoded = encodePayload(payload, this.#maxMessageBytes);
    const except = exceptList(options.except);
    this.#checkOpen();
    const header: Header = { kind: "emit", event, except, trace };
    if (this.#logged?.keepsHistory(group)) {
      await this.#logged.publish(group, encodeEnvelope(this.node, header, encoded), options.idempotencyKey);
    } else {
      this.#publish(groupTopic(group), header, encoded);
      this.#fanOut.emit(group, { event, ...encoded }, except && new Set(except));
    }
    this.#announceSent(group, event);
  }

  /**
   * What was sent to a group that keeps history, oldest first.
   *
   * @throws InvalidName; NoHandler if its policy keeps none; LayerUnavailable
   */
  async history(group: string, options: HistoryOptions = {}): Promise<History> {
    checkGroupName(group);
    this.#checkOpen();
    return this.#reading.read(group, options);
  }

  /** What a client may read of the history of a group that its consumer is in. @internal */
  async clientHistory(member: Member, asked: unknown): Promise<History> {
    this.#checkOpen();
    return this.#reading.readForClient(member, asked);
  }

  /**
   * Who is in a group, on all nodes: each user once, however many connections they have.
   *
   * @throws InvalidName; NoHandler if its policy keeps no presence; LayerUnavailable
   */
  async presence(group: string): Promise<readonly PresentUser[]> {
    return this.#present(group).list(group, (users) => users);
  }

  /** How many users are in a group; costs the same for any number. Throws as {@link presence} does. */
  async presenceCount(group: string): Promise<number> {
    return this.#present(group).count(group);
  }

  /** See `Presence.known`. @internal */
  presentHere(
    group: string,
    limit: number,
  ): { readonly count: number; readonly users: readonly string[] } | undefined {
    return this.#presence?.known(group, limit);
  }

  /** See `Presence.send`. @internal */
  async sendPresence(
    group: string,
    channel: string,
    send: (users: readonly PresentUser[], isInTurn: boolean) => void,
  ): Promise<void> {
    return this.#present(group).send(group, channel, send);
  }

  /** @internal */
  async updatePresence(group: string, member: Member, info: unknown): Promise<void> {
    return this.#present(group).update(group, member, info);
  }

  /** As JSON; empty where nobody wants it. @internal */
  encodeInfo(info: () => unknown): string {
    return this.#presence?.encodeInfo(info()) ?? "";
  }

  /**
   * Sends a message to one consumer, wherever it is. At most once: if the channel is gone, the message is
   * dropped and `dropped` says so.
   *
   * @param channel - of a connection; or a name that somebody takes messages for (see {@link nameChannel}):
   * then what it promises holds
   * @throws InvalidName, InvalidMessage, MessageTooLarge, LayerUnavailable
   */
  async send(channel: string, message: Message): Promise<void> {
    const named = this.#named.get(channel);
    if (named !== undefined) {
      checkMessageType(message?.type);
      this.#checkOpen();
      return named(message);
    }
    if (isGroupName(channel)) throw nobodyTakes(channel);
    if (this.#tracer === undefined) return this.#sendTo(channel, message, undefined);
    const sending = { verb: "send", what: message?.type, members: 1 } as const;
    return this.#tracer.sends(sending, (trace) => this.#sendTo(channel, message, trace));
  }

  async #sendTo(channel: string, message: Message, trace: TraceCarrier | undefined): Promise<void> {
    checkChannelName(channel);
    const payload = this.#encodeMessage(message);
    this.#checkOpen();
    this.#tally.sentToChannels += 1;
    const node = nodeOf(channel);
    if (node === this.node) this.#channels.deliver(channel, toMessage(payload));
    else this.#publish(nodeTopic(node), { kind: "direct", channel, trace }, payload);
  }

  /**
   * Takes all that is sent to a channel of this name from this node, e.g. to hand it to workers.
   *
   * @returns what ends it
   * @throws InvalidName; ConfigurationError if somebody takes it already
   */
  nameChannel(name: string, take: (message: Message) => Promise<void>): () => void {
    checkGroupName(name);
    if (this.#named.has(name)) {
      throw new ConfigurationError([`the channel "${name}" is taken already; each has one that takes it`]);
    }
    this.#named.set(name, take);
    return () => void this.#named.delete(name);
  }

  /**
   * Hears what any node says to a group of the framework's own (`sluice.…`), this node included; such a group
   * no consumer, client or publisher can join or send to. At most once; resolved: from now on.
   *
   * @returns what ends it
   * @internal
   */
  async listen(group: string, hear: (message: Message) => void): Promise<() => void> {
    checkReservedName(group);
    this.#checkOpen();
    const topic = groupTopic(group);
    this.#earNumber += 1;
    const ear = new Ear(`${this.node}!ear-${this.#earNumber}`, hear, (error) =>
      this.#facts.failed.announce({ hook: "layer", error }),
    );
    await this.#subscriptions.acquire(topic);
    this.#ears.add(group, ear);
    return () => {
      if (!this.#ears.has(group, ear.channel)) return;
      this.#ears.remove(group, ear.channel);
      // What cannot be closed is closed with the layer.
      if (this.#state === "open") void this.#subscriptions.release(topic).catch(() => {});
    };
  }

  /** Says something to all who {@link listen}, here at once; says nothing about the other nodes. @internal */
  tellListeners(group: string, message: Message): void {
    checkReservedName(group);
    const payload = this.#encodeMessage(message);
    this.#checkOpen();
    if (this.#ears.count(group) > 0) this.#ears.send(group, toMessage(payload));
    this.#publish(groupTopic(group), { kind: "send" }, payload);
  }

  /**
   * Ends one connection, wherever it is; its client is told code and reason (see `Consumer.close`).
   * Resolved: it has begun to end.
   *
   * @throws ConnectionClosed if there is no such channel (any more); LayerUnavailable if its node cannot be
   * reached or does not answer
   */
  async closeChannel(
    channel: string,
    code: number = CloseCode.forbidden,
    reason = "closed by the server",
  ): Promise<void> {
    checkChannelName(channel);
    checkCloseCode(code);
    this.#checkOpen();
    if (nodeOf(channel) !== this.node) return this.#elsewhere.close(channel, code, reason);
    this.#channels.close(channel, code, reason);
  }

  /**
   * Ends every connection of a user on every node; the clients are told code and reason. Connections that
   * are being made are not found yet: refuse the user first. At most once: a node that cannot be reached in
   * this moment does not hear it; `layer:up` is when to say it again.
   * Resolved: done here, and the word to the other nodes has left this one.
   *
   * @param user - as the application's `userId` names it
   * @throws LayerUnavailable if the other nodes cannot be told
   */
  async closeUser(
    user: string,
    code: number = CloseCode.forbidden,
    reason = "closed by the server",
  ): Promise<void> {
    return this.#closeOwned({ user, code, reason });
  }

  /**
   * Ends every connection with a key that middleware gave it, e.g. of one session; promises what
   * {@link closeUser} does.
   *
   * @internal
   */
  async closeKeyed(key: string, code: number, reason: string): Promise<void> {
    return this.#closeOwned({ key, code, reason });
  }

  async #closeOwned(closing: Closing): Promise<void> {
    checkCloseCode(closing.code);
    const payload = encodePayload(closing, this.#maxMessageBytes);
    this.#checkOpen();
    const told = new Promise<void>((resolve, reject) => {
      const lost = new LayerUnavailable(
        "other nodes could not be told; some of the user's connections may be open",
      );
      const text = () => encodeEnvelope(this.node, { kind: "closeUser" }, payload);
      this.#backplane.publish(ALL_NODES, text, (isLost) => (isLost ? reject(lost) : resolve()));
    });
    this.#channels.closeOwned(closing);
    await told;
  }

  /** The channels of this node (alone) that are in the group, in the order of joining. For tests. */
  groupMembers(group: string): readonly string[] {
    return this.#fanOut.members(checkGroupName(group));
  }

  /**
   * How a group stands here, as this node knows it without asking anybody.
   *
   * @param most - members that are told: those that joined last, in the order of joining
   * @internal
   */
  groupHere(group: string, most: number): GroupHere {
    const log = this.#logged?.followedLog(group);
    return {
      members: this.#fanOut.count(group),
      last: this.#fanOut.last(group, most),
      ...(log && { log: { ...log.position, size: log.policy.size, ttlMs: log.policy.ttlMs } }),
    };
  }

  /** How much is kept here; all of it is zero when nobody is connected. */
  get sizes(): LayerSizes {
    const own = [nodeTopic(this.node), ALL_NODES].filter((topic) => this.#subscriptions.has(topic));
    // What the framework hears for itself is nobody's.
    const topics = this.#subscriptions.size - own.length - this.#ears.size;
    const logs = this.#logged?.size ?? 0;
    const presence = this.#presence?.size ?? 0;
    return { channels: this.#channels.size, groups: this.#fanOut.size, topics, logs, presence };
  }

  /** For `Application.readings`. @internal */
  get readings(): LayerReadings {
    const { groups, topics } = this.sizes;
    const backplane = this.#backplane.readings?.();
    return Object.freeze({ isDegraded: this.isDegraded, groups, topics, ...(backplane && { backplane }) });
  }

  /** For doors that others knock at. @internal */
  get tracer(): Tracer | undefined {
    return this.#tracer;
  }

  /** Groups with presence that may be out of date here. @internal */
  get stalePresence(): number {
    return this.#presence?.stale ?? 0;
  }

  /** Each group with members here, and how many they are. @internal */
  groupSizes(): Iterable<readonly [group: string, members: number]> {
    return this.#fanOut.sizes();
  }

  /** How many groups a channel of this node is in, or joining. @internal */
  groupCount(channel: string): number {
    return this.#channels.groupCount(channel);
  }

  /** `groupAdd` for a channel of this node and a name that was checked; at once, if nobody is waited for. @internal */
  join(group: string, channel: string): Soon<void> {
    this.#checkOpen();
    return this.#channels.groupAdd(group, channel);
  }

  /** Whether a channel of this node is in a group, or joining it. @internal */
  isIn(group: string, channel: string): boolean {
    return this.#channels.isIn(group, channel);
  }

  /** Whether the group has, or is about to have, a member on this node. @internal */
  isUsed(group: string): boolean {
    return this.#subscriptions.has(groupTopic(group));
  }

  /** Makes a consumer reachable. @internal */
  attach(member: Member): void {
    this.#channels.attach(member);
  }

  /**
   * Changes whose a connection is; where users are told who is there, the old one leaves and the new one
   * joins.
   *
   * @internal
   */
  changeUser(member: Member, change: () => void): void {
    this.#channels.changeUser(member, change);
  }

  /** Changes the keys of a connection, which may not be attached yet. @internal */
  changeKeys(member: Member, change: () => void): void {
    this.#channels.changeKeys(member, change);
  }

  /** The groups that a channel of this node is in, or joining. @internal */
  groupsOf(channel: string): readonly string[] {
    return this.#channels.groupsOf(channel);
  }

  /**
   * Takes a consumer out of all its groups, at once; it can join none any more.
   *
   * @param isMoving - its client was sent to another node
   * @internal
   */
  detach(channel: string, isMoving = false): void {
    this.#channels.detach(channel, isMoving);
  }

  /** Asks a node for something only it can do. @internal */
  get requests(): Pick<NodeRequests, "ask" | "handle"> {
    return this.#requests;
  }

  #present(group: string): Presence {
    checkGroupName(group);
    this.#checkOpen();
    if (this.#presence !== undefined) return this.#presence;
    throw new NoHandler(`the group "${group}" keeps no presence; give it a policy (option groups)`);
  }

  /** To other nodes; before anything is written to clients here, which waits for that (see the server's `Turn`). */
  #publish(topic: string, header: Header, payload: EncodedPayload): void {
    this.#tally.published += 1;
    this.#backplane.publish(topic, () => encodeEnvelope(this.node, header, payload));
  }

  #encodeMessage(message: Message): EncodedPayload {
    checkMessageType((message as Message | undefined)?.type);
    return encodePayload(message, this.#maxMessageBytes);
  }

  #announceSent(group: string, what: string): void {
    this.#tally.sentToGroups += 1;
    if (!this.#facts.groupSent.hasReceivers) return;
    this.#facts.groupSent.announce({ layer: this.name, group, what, members: this.#fanOut.count(group) });
  }

  #checkOpen(): void {
    if (this.#state === "open") return;
    throw new LayerUnavailable(
      this.#state === "new"
        ? "the channel layer is not open yet: start the application first"
        : "the channel layer is closed",
    );
  }
}

function exceptList(except: string | readonly string[] | undefined): readonly string[] | undefined {
  if (except === undefined) return undefined;
  const list = typeof except === "string" ? [except] : except;
  for (const channel of list) checkChannelName(channel);
  return list.length > 0 ? list : undefined;
}
