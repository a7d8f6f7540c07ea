import {
  CloseCode,
  ConfigurationError,
  ConnectionClosed,
  checkCloseCode,
  InvalidMessage,
  LayerUnavailable,
  NoHandler,
  RateLimited,
} from "../errors.ts";
import type { Facts } from "../facts.ts";
import {
  checkChannelName,
  checkEventName,
  checkGroupName,
  checkMessageType,
  isGroupName,
  nobodyTakes,
  nodeOf,
} from "../names.ts";
import { decodePayload, deepFreeze, encodePayload } from "../payload.ts";
import type { Backplane, BackplaneListener, EncodedPayload, Loss, Message } from "../types.ts";
import { decodeEnvelope, type Envelope, encodeEnvelope, type Header } from "./envelope.ts";
import { FanOut, type Member } from "./fan-out.ts";
import type { PolicyTable } from "./group-policy.ts";
import type { Appended, HistoryStore } from "./history-store.ts";
import { type Entrance, type History, LoggedGroups } from "./logged-groups.ts";
import { NodeRequests } from "./node-requests.ts";
import { Presence, type PresenceOptions, type PresentUser } from "./presence.ts";
import type { Receipts } from "./receipts.ts";
import { Subscriptions } from "./subscriptions.ts";

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

/** How a message is sent to a group. */
export interface SendOptions {
  /**
   * In groups with history: a message sent under the same key before (within some minutes) is not sent
   * again, so that whoever does not know whether it was sent may send it again.
   */
  readonly idempotencyKey?: string;
}

export interface HistoryOptions {
  /** Default 50, at most 1,000. */
  readonly limit?: number;
  /** Messages before this offset; without it the last ones. */
  readonly before?: number;
}

/** A membership: first asked for, then (once the topic is open) held. */
interface Membership {
  held: boolean;
  joined: Promise<void>;
}

interface Attached {
  readonly member: Member;
  readonly groups: Map<string, Membership>;
}

interface Closing {
  readonly code: number;
  readonly reason: string;
}

/** Whose connections end. */
interface Owned {
  readonly user: string;
  readonly key: string;
}

const REQUEST_TIMEOUT_MS = 5_000;
const MAX_HISTORY = 1_000;
const MAX_CLIENT_HISTORY = 100;

/**
 * Channels and groups as this node sees them.
 *
 * Members on this node get what is sent at once, within the call; the backplane carries it to the others.
 * Delivery is at most once and, per sender and group, in order. `groupSend` and `groupEmit` resolve when
 * the message is handed over here; that says nothing about remote members.
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
  readonly #fanOut = new FanOut();
  readonly #logged: LoggedGroups | undefined;
  readonly #presence: Presence | undefined;
  readonly #attached = new Map<string, Attached>();
  /** Channels here by whose they are, and by the keys of their connections. */
  readonly #owners = new Map<string, Set<string>>();
  /** Channels that belong to no connection. */
  readonly #named = new Map<string, (message: Message) => Promise<void>>();
  #downSince: number | undefined;
  #state: "new" | "open" | "closed" = "new";

  constructor({
    name = "default",
    node,
    backplane,
    facts,
    maxMessageBytes,
    history,
    presence,
  }: ChannelLayerOptions) {
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
    this.#requests.handle("groupAdd", (body) => this.#changeGroup(this.groupAdd, body));
    this.#requests.handle("groupDiscard", (body) => this.#changeGroup(this.groupDiscard, body));
    this.#requests.handle("closeChannel", (body) => {
      const { channel, code, reason } = body as Closing & { channel: string };
      this.#closeHere(channel, code, reason);
      return null;
    });
  }

  async open(): Promise<void> {
    if (this.#state !== "new")
      throw new LayerUnavailable(`a channel layer opens once; this one is ${this.#state}`);
    this.#state = "open";
    await this.#logged?.open();
    await this.#backplane.open(this.#listener());
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
    return this.#downSince !== undefined;
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
    if (nodeOf(channel) !== this.node) return this.#changeElsewhere("groupAdd", group, channel);
    const attached = this.#attached.get(channel);
    if (attached === undefined) throw new ConnectionClosed(`there is no channel "${channel}" (any more)`);

    const known = attached.groups.get(group);
    if (known !== undefined) return known.joined;
    const membership: Membership = { held: false, joined: Promise.resolve() };
    attached.groups.set(group, membership);
    membership.joined = this.#join(group, attached, membership);
    return membership.joined;
  }

  /** Takes a channel out of a group. Resolved: nothing that is sent to the group reaches it any more. */
  async groupDiscard(group: string, channel: string): Promise<void> {
    checkGroupName(group);
    checkChannelName(channel);
    this.#checkOpen();
    if (nodeOf(channel) !== this.node) return this.#changeElsewhere("groupDiscard", group, channel);
    const attached = this.#attached.get(channel);
    if (attached !== undefined) this.#leave(group, attached);
  }

  /**
   * Runs the handler of the message's type on every consumer in the group, on every node.
   *
   * Resolves when it is handed over here; in a group with history, when it is appended.
   *
   * @throws InvalidName, InvalidMessage, MessageTooLarge; LayerUnavailable if it could not be appended
   */
  async groupSend(group: string, message: Message, options: SendOptions = {}): Promise<void> {
    checkGroupName(group);
    const payload = this.#encodeMessage(message);
    this.#checkOpen();
    const header: Header = { kind: "send" };
    if (this.#logged?.keepsHistory(group)) {
      await this.#append(this.#logged, group, header, payload, options);
    } else {
      if (this.#fanOut.count(group) > 0) this.#fanOut.send(group, toMessage(payload));
      this.#publish(groupTopic(group), header, payload);
    }
    this.#announceSent(group, message.type);
  }

  /**
   * Sends an event straight to the clients of the group's members, on every node. Resolves as
   * {@link groupSend} does.
   *
   * @param options - `except`: channels whose clients do not get it
   */
  async groupEmit(
    group: string,
    event: string,
    payload?: unknown,
    options: SendOptions & { readonly except?: string | readonly string[] } = {},
  ): Promise<void> {
    checkGroupName(group);
    checkEventName(event);
    const encoded = encodePayload(payload, this.#maxMessageBytes);
    const except = exceptList(options.except);
    this.#checkOpen();
    const header: Header = except ? { kind: "emit", event, except } : { kind: "emit", event };
    if (this.#logged?.keepsHistory(group)) {
      await this.#append(this.#logged, group, header, encoded, options);
    } else {
      this.#fanOut.emit(group, { event, ...encoded }, except && new Set(except));
      this.#publish(groupTopic(group), header, encoded);
    }
    this.#announceSent(group, event);
  }

  /**
   * What was sent to a group that keeps history, oldest first.
   *
   * @throws InvalidName; NoHandler if its policy keeps none; LayerUnavailable
   */
  async history(group: string, { limit = 50, before }: HistoryOptions = {}): Promise<History> {
    checkGroupName(group);
    checkReading(limit, before, MAX_HISTORY);
    this.#checkOpen();
    return this.#loggedGroup(group).history(group, limit, before);
  }

  /** What a client may read of the history of a group that its consumer is in. @internal */
  async clientHistory(member: Member, asked: unknown): Promise<History> {
    const { group, limit = 50, before } = (asked ?? {}) as { group?: unknown } & HistoryOptions;
    const name = checkGroupName(group as string);
    checkReading(limit, before, MAX_CLIENT_HISTORY);
    this.#checkOpen();
    const since = this.#logged?.readableSince(name, member.channel);
    if (this.#logged === undefined || since === undefined) {
      throw new NoHandler("the history of this group is not for you, or there is none");
    }
    let [border, most] = [before, limit];
    for (;;) {
      if (!member.mayBeGiven(most)) throw new RateLimited("too much is read; try again in a second");
      const { epoch, messages, more } = await this.#logged.clientHistory(name, most, border, since);
      // Messages between consumers are not for clients. Nothing but those would not say how to go on.
      const events = messages.filter(({ event }) => event !== undefined);
      const [oldest] = messages;
      if (events.length > 0 || !more || oldest === undefined) {
        return { epoch, messages: events.slice(-limit), more: more || events.length > limit };
      }
      [border, most] = [oldest.offset, MAX_CLIENT_HISTORY];
    }
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
    checkChannelName(channel);
    const payload = this.#encodeMessage(message);
    this.#checkOpen();
    const node = nodeOf(channel);
    if (node === this.node) this.#deliver(channel, toMessage(payload));
    else this.#publish(nodeTopic(node), { kind: "direct", channel }, payload);
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
    const node = nodeOf(channel);
    if (node === this.node) return this.#closeHere(channel, code, reason);
    await this.#requests.ask(node, "closeChannel", { channel, code, reason }, REQUEST_TIMEOUT_MS);
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
    return this.#closeOwned(userOwner(user), { user, code, reason });
  }

  /**
   * Ends every connection with a key that middleware gave it, e.g. of one session; promises what
   * {@link closeUser} does.
   *
   * @internal
   */
  async closeKeyed(key: string, code: number, reason: string): Promise<void> {
    return this.#closeOwned(keyOwner(key), { key, code, reason });
  }

  async #closeOwned(owner: string, closing: Closing & Partial<Owned>): Promise<void> {
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
    this.#closeOwnedHere(owner, closing);
    await told;
  }

  /** The channels of this node (alone) that are in the group, in the order of joining. For tests. */
  groupMembers(group: string): readonly string[] {
    return this.#fanOut.members(checkGroupName(group));
  }

  /** How much is kept here; all of it is zero when nobody is connected. */
  get sizes(): LayerSizes {
    const own = [nodeTopic(this.node), ALL_NODES].filter((topic) => this.#subscriptions.has(topic));
    const topics = this.#subscriptions.size - own.length;
    const logs = this.#logged?.size ?? 0;
    const presence = this.#presence?.size ?? 0;
    return { channels: this.#attached.size, groups: this.#fanOut.size, topics, logs, presence };
  }

  /** How many groups a channel of this node is in, or joining. @internal */
  groupCount(channel: string): number {
    return this.#attached.get(channel)?.groups.size ?? 0;
  }

  /** Whether a channel of this node is in a group, or joining it. @internal */
  isIn(group: string, channel: string): boolean {
    return this.#attached.get(channel)?.groups.has(group) === true;
  }

  /** Whether the group has, or is about to have, a member on this node. @internal */
  isUsed(group: string): boolean {
    return this.#subscriptions.has(groupTopic(group));
  }

  /** Makes a consumer reachable. @internal */
  attach(member: Member): void {
    this.#attached.set(member.channel, { member, groups: new Map() });
    this.#rememberOwners(member);
  }

  /**
   * Changes whose a connection is; where users are told who is there, the old one leaves and the new one
   * joins.
   *
   * @internal
   */
  changeUser(member: Member, change: () => void): void {
    const attached = this.#attached.get(member.channel);
    if (attached === undefined) return change();
    const held = [...attached.groups].filter(([, membership]) => membership.held).map(([group]) => group);
    for (const group of held) this.#presence?.left(group, member, false);
    this.#forgetOwners(member);
    change();
    this.#rememberOwners(member);
    for (const group of held) this.#presence?.joined(group, member);
  }

  /** Changes the keys of a connection, which may not be attached yet. @internal */
  changeKeys(member: Member, change: () => void): void {
    if (!this.#attached.has(member.channel)) return change();
    this.#forgetOwners(member);
    change();
    this.#rememberOwners(member);
  }

  /** The groups that a channel of this node is in, or joining. @internal */
  groupsOf(channel: string): readonly string[] {
    return [...(this.#attached.get(channel)?.groups.keys() ?? [])];
  }

  /**
   * Takes a consumer out of all its groups, at once; it can join none any more.
   *
   * @param isMoving - its client was sent to another node
   * @internal
   */
  detach(channel: string, isMoving = false): void {
    const attached = this.#attached.get(channel);
    if (attached === undefined) return;
    this.#attached.delete(channel);
    this.#forgetOwners(attached.member);
    for (const group of [...attached.groups.keys()]) this.#leave(group, attached, isMoving);
  }

  /** Asks a node for something only it can do. @internal */
  get requests(): Pick<NodeRequests, "ask" | "handle"> {
    return this.#requests;
  }

  async #join(group: string, { member, groups }: Attached, membership: Membership): Promise<void> {
    try {
      const asked = member.mayJoin?.(group);
      if (asked !== undefined) {
        await asked;
        if (groups.get(group) !== membership) return;
      }
      await this.#subscriptions.acquire(groupTopic(group));
    } catch (error) {
      if (groups.get(group) === membership) groups.delete(group);
      throw error;
    }
    const logged = this.#logged?.keepsHistory(group) ? this.#logged : undefined;
    let entrance: Entrance | undefined;
    try {
      entrance = await logged?.acquire(group, member);
    } catch (error) {
      if (groups.get(group) === membership) groups.delete(group);
      await this.#subscriptions.release(groupTopic(group));
      throw error;
    }
    // Left again while it was joining: whoever left saw nothing held and leaves the rest to us.
    if (groups.get(group) !== membership) {
      logged?.release(group);
      return this.#subscriptions.release(groupTopic(group));
    }
    membership.held = true;
    this.#presence?.joined(group, member);
    if (entrance === undefined) this.#fanOut.add(group, member);
    else logged?.join(group, member, entrance);
    this.#facts.groupAdded.announce({ group, channel: member.channel });
  }

  #leave(group: string, { member, groups }: Attached, isMoving = false): void {
    const membership = groups.get(group);
    if (membership === undefined) return;
    groups.delete(group);
    if (!membership.held) return;
    this.#fanOut.remove(group, member.channel);
    this.#logged?.leave(group, member);
    this.#presence?.left(group, member, isMoving);
    this.#facts.groupDiscarded.announce({ group, channel: member.channel });
    this.#subscriptions
      .release(groupTopic(group))
      .catch(() => this.#dropped("backplane", group, "unsubscribe"));
  }

  #rememberOwners(member: Member): void {
    for (const owner of ownersOf(member)) {
      const channels = this.#owners.get(owner) ?? new Set();
      this.#owners.set(owner, channels.add(member.channel));
    }
  }

  #forgetOwners(member: Member): void {
    for (const owner of ownersOf(member)) {
      const channels = this.#owners.get(owner);
      if (channels?.delete(member.channel) && channels.size === 0) this.#owners.delete(owner);
    }
  }

  #closeHere(channel: string, code: number, reason: string): void {
    const attached = this.#attached.get(channel);
    if (attached === undefined) throw new ConnectionClosed(`there is no channel "${channel}" (any more)`);
    attached.member.close(code, reason);
  }

  #closeOwnedHere(owner: string, { code, reason }: Closing): void {
    // Ending one may end another: routes of one connection.
    for (const channel of [...(this.#owners.get(owner) ?? [])]) {
      this.#attached.get(channel)?.member.close(code, reason);
    }
  }

  #changeElsewhere(verb: "groupAdd" | "groupDiscard", group: string, channel: string): Promise<void> {
    const asked = this.#requests.ask(nodeOf(channel), verb, { group, channel }, REQUEST_TIMEOUT_MS);
    return asked.then(() => undefined);
  }

  async #changeGroup(
    change: (group: string, channel: string) => Promise<void>,
    body: unknown,
  ): Promise<null> {
    const { group, channel } = body as { group: string; channel: string };
    await change.call(this, group, channel);
    return null;
  }

  #listener(): BackplaneListener {
    const facts = this.#facts;
    return {
      hear: (topic, text) => this.#hear(topic, text),
      dropped: (topic, count) => {
        if (topic.startsWith(GROUP)) this.#presence?.dropped(targetOf(topic));
        this.#dropped("backplane", targetOf(topic), "", count);
      },
      unheard: (topic) => this.#unheard(topic),
      lost: (loss) => this.#lost(loss),
      down: (reason) => {
        this.#downSince ??= performance.now();
        facts.layerDown.announce({ layer: this.name, reason });
      },
      up: () => {
        const downMs = performance.now() - (this.#downSince ?? performance.now());
        this.#downSince = undefined;
        this.#logged?.suspect();
        this.#presence?.suspect();
        facts.layerUp.announce({ layer: this.name, downMs });
      },
    };
  }

  #lost({ topic, missed }: Loss): void {
    if (topic === undefined || topic.startsWith(GROUP)) {
      this.#logged?.suspect(topic && targetOf(topic));
      this.#presence?.suspect(topic && targetOf(topic));
    }
    this.#facts.lost.announce({
      ...(topic === undefined ? {} : { group: targetOf(topic) }),
      ...(missed === undefined ? {} : { missed }),
    });
  }

  /** That nobody elsewhere is in a group is nothing special; that a node hears nothing is. */
  #unheard(topic: string): void {
    if (!topic.startsWith(NODE)) return;
    const node = targetOf(topic);
    this.#requests.unheard(node);
    this.#dropped("no-channel", node, "");
  }

  #hear(topic: string, text: string): void {
    const envelope = decodeEnvelope(text);
    if (envelope === undefined) return this.#dropped("bad-envelope", topic, "");
    try {
      this.#handle(topic, envelope);
    } catch {
      this.#dropped("bad-envelope", topic, envelope.header.kind);
    }
  }

  #handle(topic: string, { from, header, payload }: Envelope): void {
    switch (header.kind) {
      case "emit":
        return this.#fanOut.emit(
          targetOf(topic),
          { event: header.event, ...payload },
          header.except && new Set(header.except),
        );
      case "send":
        return this.#fanOut.send(targetOf(topic), toMessage(payload));
      case "direct":
        return this.#deliver(header.channel, toMessage(payload));
      case "logged":
        return this.#logged?.hear(targetOf(topic), header, payload.json);
      case "presence":
        return this.#presence?.hear(targetOf(topic), payload.json);
      case "closeUser": {
        const closing = decodePayload(payload) as Closing & Partial<Owned>;
        if (closing.user !== undefined) this.#closeOwnedHere(userOwner(closing.user), closing);
        if (closing.key !== undefined) this.#closeOwnedHere(keyOwner(closing.key), closing);
        return;
      }
      case "request":
        return void this.#requests.hearRequest(from, header.id, header.verb, payload);
      case "reply":
        return this.#requests.hearReply(from, header.id, header.failed === true, payload);
    }
  }

  #deliver(channel: string, message: Message): void {
    const attached = this.#attached.get(channel);
    if (attached === undefined) this.#dropped("no-channel", channel, message.type);
    else attached.member.deliver(message);
  }

  async #append(
    logged: LoggedGroups,
    group: string,
    header: Header,
    payload: EncodedPayload,
    { idempotencyKey }: SendOptions,
  ): Promise<Appended> {
    return logged.publish(group, encodeEnvelope(this.node, header, payload), idempotencyKey);
  }

  #loggedGroup(group: string): LoggedGroups {
    if (this.#logged?.keepsHistory(group)) return this.#logged;
    throw new NoHandler(
      `the group "${group}" keeps no history; give it a policy (options groups and history)`,
    );
  }

  #present(group: string): Presence {
    checkGroupName(group);
    this.#checkOpen();
    if (this.#presence !== undefined) return this.#presence;
    throw new NoHandler(`the group "${group}" keeps no presence; give it a policy (option groups)`);
  }

  #publish(topic: string, header: Header, payload: EncodedPayload): void {
    this.#backplane.publish(topic, () => encodeEnvelope(this.node, header, payload));
  }

  #encodeMessage(message: Message): EncodedPayload {
    checkMessageType((message as Message | undefined)?.type);
    return encodePayload(message, this.#maxMessageBytes);
  }

  #announceSent(group: string, what: string): void {
    if (!this.#facts.groupSent.hasReceivers) return;
    this.#facts.groupSent.announce({ group, what, members: this.#fanOut.count(group) });
  }

  #dropped(
    cause: "backplane" | "bad-envelope" | "no-channel",
    target: string,
    what: string,
    count = 1,
  ): void {
    this.#facts.dropped.announce({ cause, target, what, count });
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

function userOwner(user: string): string {
  return `user ${user}`;
}

function keyOwner(key: string): string {
  return `key ${key}`;
}

function ownersOf({ user, keys = [] }: Member): readonly string[] {
  return [...(user === undefined ? [] : [userOwner(user)]), ...keys.map(keyOwner)];
}

/** Shared by all who get it, hence frozen. */
function toMessage(payload: EncodedPayload): Message {
  return deepFreeze(decodePayload(payload)) as Message;
}

function exceptList(except: string | readonly string[] | undefined): readonly string[] | undefined {
  if (except === undefined) return undefined;
  const list = typeof except === "string" ? [except] : except;
  for (const channel of list) checkChannelName(channel);
  return list.length > 0 ? list : undefined;
}

function checkReading(limit: unknown, before: unknown, most: number): void {
  const isCount = (value: unknown) => typeof value === "number" && Number.isSafeInteger(value) && value >= 1;
  if (!isCount(limit) || (limit as number) > most) throw new InvalidMessage(`limit must be 1 to ${most}`);
  if (before !== undefined && !isCount(before))
    throw new InvalidMessage("before must be an offset, 1 or more");
}

const GROUP = "group.";
const NODE = "node.";
/** A topic that every node hears. */
const ALL_NODES = "nodes";

function groupTopic(group: string): string {
  return GROUP + group;
}

function nodeTopic(node: string): string {
  return NODE + node;
}

/** The group or node that a topic is about. */
function targetOf(topic: string): string {
  return topic.slice(topic.indexOf(".") + 1);
}
