/**
 * Who is in the groups whose policy says so: this node's users are stated to the store, and its members are
 * told who comes and goes, wherever that is.
 */
import type { Clock } from "../clock.ts";
import { ConfigurationError, InvalidMessage, LayerUnavailable, NoHandler } from "../errors.ts";
import type { Facts } from "../facts.ts";
import { FanOut, type Member, type Tidings } from "./fan-out.ts";
import type { Announced } from "./group-log.ts";
import type { PolicyTable } from "./group-policy.ts";
import type { Position } from "./history-store.ts";
import { OwnUsers, type OwnUsersHost } from "./own-users.ts";
import type { PresenceChange, PresenceListener, PresenceLog, PresenceStore } from "./presence-store.ts";
import {
  changeIn,
  changesIn,
  encodeInfo,
  faultOfUser,
  type PresentUser,
  tidingsOf,
  toPresentUser,
} from "./presence-words.ts";
import { Roster, type Told } from "./roster.ts";

/** The logs of groups that keep history, as this node follows them. */
export interface FollowedLogs {
  /** Of the store. */
  readonly logs: unknown;
  /** An entry was appended here. */
  appended(group: string, entry: Announced): void;
  /** Up to where it was heard; undefined if it is not followed. */
  positionOf(group: string): Position | undefined;
  /** Whether the log was heard up to there, without a hole; also if it is not followed. */
  hasReached(group: string, top: Position | undefined): boolean;
  /** Reads what is missing. Never rejects. */
  heal(group: string): Promise<void>;
  /** Runs it when the member has heard as much as the others: at once, or after what it is given first. */
  whenHeld(group: string, channel: string, run: () => void): void;
}

export interface PresenceOptions {
  readonly node: string;
  readonly store: PresenceStore;
  readonly policies: PolicyTable;
  readonly facts: Facts;
  /** If any group keeps history. */
  readonly followed: FollowedLogs | undefined;
  /** Members who have heard what the log says up to now. */
  readonly held: FanOut;
  /** Begins what is appended to a log. */
  readonly header: string;
  readonly limits: {
    /** Users that a group counts. */
    readonly usersPerGroup: number;
    /** Bytes of a user's info as JSON. */
    readonly presenceInfoBytes: number;
  };
  /** By which users are held who have no connection for a while. */
  readonly clock?: Clock | undefined;
  /** Tells the nodes that have the group in use. */
  announce(group: string, json: string): void;
  /** Resolves when what was announced has left this node. */
  flush(): Promise<void>;
}

/** A group with members here. */
interface Watched {
  readonly group: string;
  readonly roster: Roster;
  readonly isLogged: boolean;
  reading: Promise<void> | undefined;
  readAgain: boolean;
  /** Channels of members who know what the roster has, which is not what the log says; empty if it is. */
  readonly behind: Set<string>;
  /** Lists that are sent when the roster is true again, by channel. */
  readonly owed: Map<string, () => void>;
  /** Until it is over, a change that is missing may still come. */
  waiting: NodeJS.Timeout | undefined;
}

/** How long a change waits for the one before it, which comes from another node, before the list is read. */
const HOLE_MS = 250;
const RETRY_MS = 1_000;
/** Lists that are read at once. */
const AT_ONCE = 32;
const MAX_UNTOLD = 10_000;

export class Presence implements PresenceListener, OwnUsersHost {
  readonly #options: PresenceOptions;
  readonly #own: OwnUsers;
  readonly #fanOut = new FanOut();
  readonly #watched = new Map<string, Watched>();
  /** Groups whose list could not be read, or must not yet. */
  readonly #unsure = new Set<string>();
  /** Groups of which something announced here has not left. */
  readonly #untold = new Set<string>();
  #state: "new" | "open" | "down" | "closed" = "new";
  /** While all nodes state their users again, lists are not complete. */
  #settling: NodeJS.Timeout | symbol | undefined;
  /** Run when that has ended, or begins anew. */
  readonly #whenSettled = new Set<() => void>();
  #retrying: NodeJS.Timeout | undefined;

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#own = new OwnUsers(options.store, options.limits.usersPerGroup, this, options.clock);
  }

  async open(): Promise<void> {
    const { policies, store, node, followed } = this.#options;
    this.#state = "open";
    if (!policies.needs.loggedPresence) return store.open(node, this);
    if (followed?.logs === undefined) {
      throw new ConfigurationError([
        "groups with history and presence need a history store that lets the presence append (HistoryStore.logs)",
      ]);
    }
    await store.open(node, this, followed.logs);
  }

  /** Users who were to be held for a while are left to the other nodes. */
  async close(): Promise<void> {
    const { store } = this.#options;
    const wasOpen = this.#state === "open" || this.#state === "down";
    this.#state = "closed";
    this.#endSettling();
    clearTimeout(this.#retrying);
    for (const watched of this.#watched.values()) clearTimeout(watched.waiting);
    this.#watched.clear();
    this.#unsure.clear();
    this.#untold.clear();
    const holdMs = await this.#own.close(store.leaseMs);
    if (wasOpen) await store.close(holdMs);
  }

  get size(): number {
    return Math.max(this.#watched.size, this.#own.size);
  }

  /** Groups of which what is known here may be out of date. */
  get stale(): number {
    let stale = 0;
    for (const { roster } of this.#watched.values()) if (roster.isStale) stale += 1;
    return stale;
  }

  /**
   * A user's info as it is kept.
   *
   * @throws MessageTooLarge, Unencodable
   */
  encodeInfo(info: unknown): string {
    const { presenceInfoBytes } = this.#options.limits;
    return encodeInfo(info, presenceInfoBytes);
  }

  // ---- members of this node ---------------------------------------------------------------------

  joined(group: string, member: Member): void {
    if (!this.#keepsPresence(group)) return;
    this.#fanOut.add(group, member);
    if (!this.#watched.has(group)) this.#watch(group);
    const { user, channel } = member;
    if (user === undefined) return;
    const fault = faultOfUser(user);
    if (fault === undefined) this.#own.joined(group, user, channel, member.info);
    else this.failed(fault);
  }

  /** @param isMoving - the server has sent its client to another node */
  left(group: string, { user, channel }: Member, isMoving: boolean): void {
    const policy = this.#options.policies.of(group).presence;
    if (policy === undefined) return;
    this.#fanOut.remove(group, channel);
    const watched = this.#watched.get(group);
    watched?.behind.delete(channel);
    watched?.owed.delete(channel);
    if (this.#fanOut.count(group) === 0) this.#unwatch(group);
    const movingMs = isMoving ? this.#options.store.leaseMs : 0;
    if (user !== undefined) this.#own.left(group, user, channel, Math.max(policy.graceMs, movingMs));
  }

  /** @throws NoHandler, InvalidMessage, MessageTooLarge, LayerUnavailable */
  async update(group: string, { user }: Member, info: unknown): Promise<void> {
    this.#check(group);
    if (user === undefined) {
      throw new InvalidMessage("this connection is nobody's (see `userId`), so it has no presence to update");
    }
    if (!this.#own.has(group, user)) throw new InvalidMessage(`"${user}" is not in the group "${group}"`);
    await this.#own.update(group, user, this.encodeInfo(info));
  }

  /**
   * @param take - gets the list in the moment in which it is true: with what was told before, without what
   * is told later
   * @throws NoHandler, LayerUnavailable
   */
  async list<T>(group: string, take: (users: readonly PresentUser[]) => T): Promise<T> {
    this.#check(group);
    const watched = this.#watched.get(group);
    if (watched === undefined) return take((await this.#options.store.list(group)).users.map(toPresentUser));
    await this.#ready(watched);
    return take(watched.roster.users.map(toPresentUser));
  }

  /**
   * Sends a member's client the list, in order with what else it is told.
   *
   * @param send - `isInTurn`: behind what waits for handlers, as all that the log tells
   * @throws NoHandler, LayerUnavailable, and what `send` throws
   */
  async send(
    group: string,
    channel: string,
    send: (users: readonly PresentUser[], isInTurn: boolean) => void,
  ): Promise<void> {
    const stale = this.#watched.get(group);
    if (stale?.roster.isStale === true) {
      this.#check(group);
      return this.#sendHeld(stale, channel, (users) => send(users, true));
    }
    await this.list(group, (users) => {
      const watched = this.#watched.get(group);
      if (!watched?.isLogged) return send(users, false);
      this.#sendHeld(watched, channel, (given) => send(given, true));
    });
  }

  /** Sends the list when the member has heard as much as the roster knows, and that is true. */
  #sendHeld(watched: Watched, channel: string, send: (users: readonly PresentUser[]) => void): void {
    const { group, roster, owed } = watched;
    let isLater = false;
    const give = () => {
      if (roster.isStale)
        return void owed.set(channel, () => this.#options.followed?.whenHeld(group, channel, give));
      try {
        send(roster.users.map(toPresentUser));
      } catch (error) {
        if (!isLater) throw error;
        this.failed(error);
      }
    };
    this.#options.followed?.whenHeld(group, channel, give);
    isLater = true;
  }

  /** Who is in a group, as far as this node knows without asking; undefined where it does not. */
  known(
    group: string,
    limit: number,
  ): { readonly count: number; readonly users: readonly string[] } | undefined {
    const roster = this.#watched.get(group)?.roster;
    if (roster === undefined || !roster.isKnown) return undefined;
    return { count: roster.size, users: roster.first(limit) };
  }

  /** @throws NoHandler, LayerUnavailable */
  async count(group: string): Promise<number> {
    this.#check(group);
    const watched = this.#watched.get(group);
    if (watched === undefined) return this.#options.store.count(group);
    await this.#ready(watched);
    return watched.roster.size;
  }

  // ---- what comes from other nodes --------------------------------------------------------------

  /** What another node has announced. Throws if it cannot be read. */
  hear(group: string, json: string): void {
    const changes = changesIn(json);
    if (changes.length === 0) this.#suspect(group);
    else this.#take(group, changes);
  }

  // ---- what logs say ----------------------------------------------------------------------------

  /**
   * The next entry of a group's log: what each member who has heard all before it is told, if anything.
   * Throws if it cannot be read.
   */
  follow(
    group: string,
    json: string,
    { offset }: Position,
  ): ((channel: string) => Tidings | undefined) | undefined {
    const watched = this.#watched.get(group);
    const change = changeIn(json);
    if (watched === undefined) return undefined;
    const { roster, behind } = watched;
    const told = roster.follow(change, offset);
    this.#lookForHole(watched);
    if (told !== undefined) this.#learn(group, told);
    const news = told && tidingsOf(group, told);
    if (!roster.isStale) return () => news;
    const said = this.tidings(group, json);
    return (channel) => (behind.has(channel) ? news : said);
  }

  /**
   * The log goes on elsewhere. Members who have heard it so far are told what is different there as soon as
   * that is known; whoever comes meanwhile is told what the log says, and gets no list before.
   */
  lost(group: string): void {
    const watched = this.#watched.get(group);
    if (watched === undefined) return;
    if (watched.isLogged) watched.roster.lose();
    if (watched.roster.isStale) {
      for (const channel of this.#options.held.members(group)) watched.behind.add(channel);
    }
    this.#suspect(group);
  }

  /** An entry as it was told when it was new. Throws if it cannot be read. */
  tidings(group: string, json: string): Tidings {
    const { kind, ...user } = changeIn(json);
    if (kind === "count") throw new Error("nothing that is told");
    return tidingsOf(group, [kind, user]);
  }

  // ---- what may have been missed ----------------------------------------------------------------

  /** Announcements of a group, or of any, may not have been heard. */
  suspect(group?: string): void {
    if (group !== undefined) this.#suspect(group);
    else for (const name of this.#watched.keys()) this.#suspect(name);
  }

  /** What was announced here has not left. */
  dropped(group: string): void {
    if (!this.#keepsPresence(group) || this.#state === "closed") return;
    if (this.#untold.size < MAX_UNTOLD) this.#untold.add(group);
    this.#retryLater();
  }

  // ---- what the store says ----------------------------------------------------------------------

  logFor(group: string): PresenceLog | undefined {
    const { history, presence } = this.#options.policies.of(group);
    if (history === undefined || presence?.isLogged !== true) return undefined;
    return { size: history.size, ttlMs: history.ttlMs, header: this.#options.header };
  }

  down(): void {
    if (this.#state !== "open") return;
    this.#state = "down";
    this.#endSettling();
    this.#settling = Symbol("waiting");
  }

  async restate(quietMs: number): Promise<void> {
    if (this.#state === "closed" || this.#state === "new") return;
    this.#state = "open";
    this.#endSettling();
    const waiting = Symbol("waiting");
    this.#settling = waiting;
    const beganAt = performance.now();
    await this.#own.restate();
    // The store may have gone again meanwhile.
    if (this.#settling !== waiting) return;
    this.#settling = setTimeout(
      () => {
        this.#endSettling();
        this.suspect();
      },
      Math.max(quietMs - (performance.now() - beganAt), 0),
    );
  }

  async removed(group: string, changes: readonly PresenceChange[]): Promise<void> {
    if (this.#state === "closed") return;
    if (changes.length > 0) this.#spread(group, changes);
    else {
      this.#options.announce(group, "[]");
      this.#suspect(group);
    }
    await this.#options.flush().catch(() => this.dropped(group));
  }

  // ---- what became of this node's users ---------------------------------------------------------

  /** The list first, so that members here are told of their own users as of all others. */
  async before(group: string): Promise<void> {
    await this.#watched.get(group)?.reading;
  }

  changed(group: string, change: PresenceChange | undefined, isCertain: boolean): void {
    if (change !== undefined) this.#spread(group, [change]);
    if (isCertain) return;
    this.#options.announce(group, "[]");
    this.#suspect(group);
  }

  unsaid(): void {
    this.#retryLater();
  }

  failed(error: unknown): void {
    this.#options.facts.failed.announce({ hook: "layer", error });
  }

  // ---- lists ------------------------------------------------------------------------------------

  #keepsPresence(group: string): boolean {
    return this.#options.policies.of(group).presence !== undefined;
  }

  #check(group: string): void {
    if (!this.#keepsPresence(group)) {
      throw new NoHandler(`the group "${group}" keeps no presence; give it a policy (option groups)`);
    }
    this.#checkUp();
  }

  #checkUp(): void {
    if (this.#state === "open") return;
    throw new LayerUnavailable(`the presence store cannot be reached: it is ${this.#state}`);
  }

  #watch(group: string): void {
    const isLogged = this.#options.policies.of(group).presence?.isLogged === true;
    const tell = isLogged ? this.#tellHeld : this.#tell;
    const roster = new Roster((...told) => tell.call(this, group, told), isLogged);
    const watched: Watched = {
      ...{ group, roster, isLogged, behind: new Set(), owed: new Map() },
      ...{ reading: undefined, readAgain: false, waiting: undefined },
    };
    this.#watched.set(group, watched);
    void this.#read(watched);
  }

  #unwatch(group: string): void {
    clearTimeout(this.#watched.get(group)?.waiting);
    this.#watched.delete(group);
    this.#unsure.delete(group);
  }

  /** Resolves when the roster has this node's own users, and what it must know. */
  async #ready(watched: Watched): Promise<void> {
    const { roster } = watched;
    await this.#own.settled(watched.group);
    while (roster.isStale && this.#settling !== undefined) {
      this.#checkUp();
      await new Promise<void>((resolve) => this.#whenSettled.add(resolve));
    }
    if (watched.reading !== undefined) await watched.reading;
    else if (!roster.isKnown || roster.isStale || roster.hasHole) await this.#read(watched);
    // Its own users may have been appended, and something before them not heard yet.
    if (watched.isLogged && !this.#hasReached(watched, undefined)) {
      await this.#options.followed?.heal(watched.group);
    }
    this.#checkUp();
    if (!roster.isKnown || roster.isStale) throw new LayerUnavailable("who is present could not be read");
  }

  /** Tells all nodes, this one included; where there is a log, by it. */
  #spread(group: string, changes: readonly PresenceChange[]): void {
    const unlogged = changes.filter(({ appended }) => appended === undefined);
    for (const { appended } of changes) {
      if (appended !== undefined) this.#options.followed?.appended(group, appended);
    }
    if (unlogged.length === 0) return;
    this.#options.announce(group, JSON.stringify(unlogged));
    this.#take(group, unlogged);
  }

  #take(group: string, changes: readonly PresenceChange[]): void {
    const watched = this.#watched.get(group);
    if (watched === undefined) {
      if (changes.some(({ kind }) => kind === "leave")) this.#own.roomAgain(group);
      return;
    }
    if (this.#settling !== undefined) return void this.#unsure.add(group);
    for (const change of changes) watched.roster.hear(change);
    this.#lookForHole(watched);
  }

  #lookForHole(watched: Watched): void {
    if (!watched.roster.hasHole || watched.waiting !== undefined) return;
    watched.waiting = setTimeout(() => {
      watched.waiting = undefined;
      if (watched.roster.hasHole) this.#suspect(watched.group);
    }, HOLE_MS);
  }

  #suspect(group: string): void {
    const watched = this.#watched.get(group);
    if (watched === undefined) return;
    if (this.#settling !== undefined) this.#unsure.add(group);
    else void this.#read(watched);
  }

  /** One at a time; who asks while one is under way gets one that was begun later. Never rejects. */
  #read(watched: Watched): Promise<void> {
    watched.readAgain = true;
    watched.reading ??= this.#readUntilTrue(watched);
    return watched.reading;
  }

  async #readUntilTrue(watched: Watched): Promise<void> {
    const { group, roster } = watched;
    await Promise.resolve();
    try {
      while (watched.readAgain && this.#watched.get(group) === watched) {
        watched.readAgain = false;
        roster.beginReading();
        const before = watched.isLogged ? this.#options.followed?.positionOf(group) : undefined;
        const list = await this.#options.store.list(group, roster.isKnown);
        if (roster.isKnown && this.#settling !== undefined)
          throw new LayerUnavailable("lists are not complete");
        if (isSetBack(before, list.top) || !this.#hasReached(watched, list.top)) {
          await this.#options.followed?.heal(group);
        }
        if (this.#watched.get(group) !== watched) return;
        if (!this.#hasReached(watched, list.top)) throw new LayerUnavailable("the log is behind the list");
        if (!roster.replace(list)) watched.readAgain = true;
      }
      this.#unsure.delete(group);
      watched.behind.clear();
      const owed = [...watched.owed.values()];
      watched.owed.clear();
      for (const give of owed) give();
    } catch (error) {
      roster.giveUpReading();
      if (this.#watched.get(group) !== watched) return;
      this.#unsure.add(group);
      this.#retryLater();
      if (!(error instanceof LayerUnavailable)) this.failed(error);
    } finally {
      watched.reading = undefined;
      if (this.#watched.get(group) === watched) this.#lookForHole(watched);
    }
  }

  #hasReached({ group, isLogged }: Watched, top: Position | undefined): boolean {
    return !isLogged || this.#options.followed?.hasReached(group, top) !== false;
  }

  #endSettling(): void {
    if (typeof this.#settling === "object") clearTimeout(this.#settling);
    this.#settling = undefined;
    const waiting = [...this.#whenSettled];
    this.#whenSettled.clear();
    for (const run of waiting) run();
  }

  #retryLater(): void {
    if (this.#state === "closed") return;
    this.#retrying ??= setTimeout(() => {
      this.#retrying = undefined;
      void this.#retry();
    }, RETRY_MS);
  }

  async #retry(): Promise<void> {
    if (this.#state === "down") return this.#retryLater();
    for (const group of this.#untold) this.#options.announce(group, "[]");
    this.#untold.clear();
    await this.#own.retry();
    if (this.#settling !== undefined) return;
    const groups = [...this.#unsure].values();
    const some = async () => {
      for (const group of groups) {
        const watched = this.#watched.get(group);
        if (watched !== undefined) await this.#read(watched);
        else this.#unsure.delete(group);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, some));
  }

  // ---- telling ----------------------------------------------------------------------------------

  /** To all members here. */
  #tell(group: string, told: Told): void {
    this.#learn(group, told);
    const { event, message } = tidingsOf(group, told);
    this.#fanOut.emit(group, event, undefined);
    for (const member of this.#fanOut.all(group)) {
      if (member.handles(message.type)) member.deliver(message, group);
    }
  }

  /** What no log could say: the others have not heard what comes before, and find it in the list. */
  #tellHeld(group: string, told: Told): void {
    this.#learn(group, told);
    const { roster, behind } = this.#watched.get(group) ?? {};
    const to = roster?.isStale === true ? behind : undefined;
    this.#options.held.tell(group, tidingsOf(group, told), to);
  }

  #learn(group: string, [type, { user, info }]: Told): void {
    if (type === "update") this.#own.learn(group, user, info);
    if (type === "leave") this.#own.roomAgain(group);
    this.#options.facts.present.announce({ group, type, user });
  }
}

/** Whether a log that was heard up to there has no such place any more, or something else there. */
function isSetBack(before: Position | undefined, top: Position | undefined): boolean {
  if (before === undefined || before.epoch === "") return false;
  if (top === undefined) return true;
  if (before.epoch !== top.epoch || top.offset > before.offset) return false;
  return top.offset < before.offset || (before.id !== "" && before.id !== top.id);
}
