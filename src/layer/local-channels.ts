import { ConnectionClosed } from "../errors.ts";
import type { Facts } from "../facts.ts";
import type { Soon } from "../soon.ts";
import type { Message } from "../types.ts";
import type { Return } from "./entrance.ts";
import type { FanOut, Member } from "./fan-out.ts";
import type { LoggedGroups } from "./logged-groups.ts";
import type { Presence } from "./presence.ts";
import type { Subscriptions } from "./subscriptions.ts";
import { groupTopic } from "./topics.ts";

export interface LocalChannelsOptions {
  readonly subscriptions: Subscriptions;
  readonly fanOut: FanOut;
  readonly logged: LoggedGroups | undefined;
  readonly presence: Presence | undefined;
  readonly facts: Facts;
}

/** A membership: first asked for, with what is waited for, then (once the topic is open) held. */
interface Membership {
  joined: Promise<void> | undefined;
}

/** The same for all who wait for nothing any more. */
const HELD: Membership = Object.freeze({ joined: undefined });

interface Attached {
  readonly member: Member;
  groups: Map<string, Membership>;
}

const NONE: readonly string[] = [];

/** Of all who have not joined any so far. */
const NO_GROUPS = new Map<string, Membership>();

/** Whose connections a node is told to end: a user's, or those with a key. */
export interface Closing {
  readonly user?: string;
  readonly key?: string;
  readonly code: number;
  readonly reason: string;
}

/** The channels of this node's connections, whose they are, and their way into groups and out of them. */
export class LocalChannels {
  readonly #options: LocalChannelsOptions;
  readonly #attached = new Map<string, Attached>();
  /** Channels by whose they are, and by the keys of their connections. */
  readonly #owners = new Map<string, Set<string>>();

  constructor(options: LocalChannelsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#attached.size;
  }

  /** Makes a consumer reachable. */
  attach(member: Member): void {
    this.#attached.set(member.channel, { member, groups: NO_GROUPS });
    this.#rememberOwners(member);
  }

  /** Changes whose a connection is; where users are told who is there, the old one leaves and the new one joins. */
  changeUser(member: Member, change: () => void): void {
    const attached = this.#attached.get(member.channel);
    if (attached === undefined) return change();
    const { presence } = this.#options;
    const held = [...attached.groups].filter(([, membership]) => membership === HELD).map(([group]) => group);
    for (const group of held) presence?.left(group, member, false);
    this.changeKeys(member, change);
    for (const group of held) presence?.joined(group, member);
  }

  /** Changes the keys of a connection, which may not be attached yet. */
  changeKeys(member: Member, change: () => void): void {
    if (!this.#attached.has(member.channel)) return change();
    this.#forgetOwners(member);
    change();
    this.#rememberOwners(member);
  }

  /**
   * Takes a consumer out of all its groups, at once; it can join none any more.
   *
   * @param isMoving - its client was sent to another node
   */
  detach(channel: string, isMoving: boolean): void {
    const attached = this.#attached.get(channel);
    if (attached === undefined) return;
    this.#attached.delete(channel);
    this.#forgetOwners(attached.member);
    for (const group of [...attached.groups.keys()]) this.#leave(group, attached, isMoving);
  }

  /** The groups that a channel is in, or joining. */
  groupsOf(channel: string): readonly string[] {
    return [...(this.#attached.get(channel)?.groups.keys() ?? [])];
  }

  /** How many they are. */
  groupCount(channel: string): number {
    return this.#attached.get(channel)?.groups.size ?? 0;
  }

  /** Whether a channel is in a group, or joining it. */
  isIn(group: string, channel: string): boolean {
    return this.#attached.get(channel)?.groups.has(group) === true;
  }

  /** @throws ConnectionClosed, LayerUnavailable */
  groupAdd(group: string, channel: string): Soon<void> {
    const attached = this.#find(channel);
    const known = attached.groups.get(group);
    if (known !== undefined) return known.joined;
    const { subscriptions, logged } = this.#options;
    const asked = attached.member.mayJoin?.(group);
    if (attached.groups === NO_GROUPS) attached.groups = new Map();
    // Most join what others here are in, and nobody has to be asked: they are members at once.
    if (asked === undefined && !logged?.keepsHistory(group) && subscriptions.tryAcquire(groupTopic(group))) {
      return this.#hold(group, attached);
    }
    const membership: Membership = { joined: undefined };
    attached.groups.set(group, membership);
    membership.joined = this.#join(group, attached, membership, asked);
    return membership.joined;
  }

  groupDiscard(group: string, channel: string): void {
    const attached = this.#attached.get(channel);
    if (attached !== undefined) this.#leave(group, attached, false);
  }

  /** To its mailbox; told as dropped where it is gone. */
  deliver(channel: string, message: Message): void {
    const attached = this.#attached.get(channel);
    if (attached !== undefined) return attached.member.deliver(message);
    const { facts } = this.#options;
    facts.dropped.announce({ cause: "no-channel", target: channel, what: message.type, count: 1 });
  }

  /** @throws ConnectionClosed */
  close(channel: string, code: number, reason: string): void {
    this.#find(channel).member.close(code, reason);
  }

  closeOwned({ user, key, code, reason }: Closing): void {
    const owners = [user === undefined ? [] : [userOwner(user)], key === undefined ? [] : [keyOwner(key)]];
    for (const owner of owners.flat()) {
      // Ending one may end another: routes of one connection.
      for (const channel of [...(this.#owners.get(owner) ?? [])]) {
        this.#attached.get(channel)?.member.close(code, reason);
      }
    }
  }

  #find(channel: string): Attached {
    const attached = this.#attached.get(channel);
    if (attached !== undefined) return attached;
    throw new ConnectionClosed(`there is no channel "${channel}" (any more)`);
  }

  async #join(
    group: string,
    attached: Attached,
    membership: Membership,
    asked: Promise<void> | undefined,
  ): Promise<void> {
    const { subscriptions } = this.#options;
    const { member, groups } = attached;
    try {
      if (asked !== undefined) {
        await asked;
        if (groups.get(group) !== membership) return;
      }
      await subscriptions.acquire(groupTopic(group));
    } catch (error) {
      if (groups.get(group) === membership) groups.delete(group);
      throw error;
    }
    const logged = this.#options.logged?.keepsHistory(group) ? this.#options.logged : undefined;
    let claim: Return;
    try {
      claim = await logged?.acquire(group, member);
    } catch (error) {
      if (groups.get(group) === membership) groups.delete(group);
      await subscriptions.release(groupTopic(group));
      throw error;
    }
    // Left again while it was joining: whoever left saw nothing held and leaves the rest to us.
    if (groups.get(group) !== membership) {
      logged?.release(group);
      return subscriptions.release(groupTopic(group));
    }
    this.#hold(group, attached, logged, claim);
  }

  /** It is a member from now on. */
  #hold(group: string, { member, groups }: Attached, logged?: LoggedGroups, claim?: Return): void {
    const { fanOut, presence, facts } = this.#options;
    groups.set(group, HELD);
    presence?.joined(group, member);
    if (logged === undefined) fanOut.add(group, member);
    else logged.join(group, member, claim);
    if (facts.groupAdded.hasReceivers) facts.groupAdded.announce({ group, channel: member.channel });
  }

  #leave(group: string, { member, groups }: Attached, isMoving: boolean): void {
    const { subscriptions, fanOut, logged, presence, facts } = this.#options;
    const membership = groups.get(group);
    if (membership === undefined) return;
    groups.delete(group);
    if (membership !== HELD) return;
    fanOut.remove(group, member.channel);
    logged?.leave(group, member);
    presence?.left(group, member, isMoving);
    if (facts.groupDiscarded.hasReceivers) facts.groupDiscarded.announce({ group, channel: member.channel });
    subscriptions
      .release(groupTopic(group))
      .catch(() =>
        facts.dropped.announce({ cause: "backplane", target: group, what: "unsubscribe", count: 1 }),
      );
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
}

function userOwner(user: string): string {
  return `user ${user}`;
}

function keyOwner(key: string): string {
  return `key ${key}`;
}

function ownersOf({ user, keys = NONE }: Member): readonly string[] {
  if (user === undefined && keys.length === 0) return NONE;
  return [...(user === undefined ? [] : [userOwner(user)]), ...keys.map(keyOwner)];
}
