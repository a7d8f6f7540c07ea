/**
 * Who is in the groups whose policy says so: this node's users are stated to the store, and its members are
 * told who comes and goes, wherever that is.
 */
import { InvalidMessage, LayerUnavailable, MessageTooLarge, NoHandler } from "../errors.ts";
import type { Facts } from "../facts.ts";
import { ReservedEvent } from "../names.ts";
import { deepFreeze, encodePayload } from "../payload.ts";
import type { Message } from "../types.ts";
import { FanOut, type Member } from "./fan-out.ts";
import type { PolicyTable } from "./group-policy.ts";
import { OwnUsers, type OwnUsersHost } from "./own-users.ts";
import type {
  PresenceChange,
  PresenceListener,
  PresenceStore,
  PresentUser as StoredUser,
} from "./presence-store.ts";
import { Roster } from "./roster.ts";

/** A user in a group. */
export interface PresentUser {
  readonly user: string;
  /** What the application's `userInfo` said, or `updatePresence`. */
  readonly info: unknown;
  /** On all nodes; 0 for one whose last connection ended and who is held for a while. */
  readonly connections: number;
}

export interface PresenceOptions {
  readonly node: string;
  readonly store: PresenceStore;
  readonly policies: PolicyTable;
  readonly facts: Facts;
  readonly limits: {
    /** Users that a group counts. */
    readonly usersPerGroup: number;
    /** Bytes of a user's info as JSON. */
    readonly presenceInfoBytes: number;
  };
  /** Tells the nodes that have the group in use. */
  announce(group: string, json: string): void;
  /** Resolves when what was announced has left this node. */
  flush(): Promise<void>;
}

/** A group with members here. */
interface Watched {
  readonly group: string;
  readonly roster: Roster;
  reading: Promise<void> | undefined;
  readAgain: boolean;
  /** Until it is over, a change that is missing may still come. */
  waiting: NodeJS.Timeout | undefined;
}

/** How long a change waits for the one before it, which comes from another node, before the list is read. */
const HOLE_MS = 250;
const RETRY_MS = 1_000;
/** Lists that are read at once. */
const AT_ONCE = 32;
const MAX_USER_BYTES = 256;
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
  #retrying: NodeJS.Timeout | undefined;

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#own = new OwnUsers(options.store, options.limits.usersPerGroup, this);
  }

  async open(): Promise<void> {
    this.#state = "open";
    await this.#options.store.open(this.#options.node, this);
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

  /**
   * A user's info as it is kept.
   *
   * @throws MessageTooLarge, Unencodable
   */
  encodeInfo(info: unknown): string {
    const { presenceInfoBytes } = this.#options.limits;
    const { json, attachments } = encodePayload(info, Number.POSITIVE_INFINITY);
    if (attachments.length > 0) throw new InvalidMessage("the info of a user must be JSON, without binary");
    const bytes = Buffer.byteLength(json);
    if (bytes <= presenceInfoBytes) return json;
    throw new MessageTooLarge(
      `the info of a user may have ${presenceInfoBytes} bytes as JSON (limits.presenceInfoBytes), this has ${bytes}; keep it to what everybody in a group must see`,
    );
  }

  // ---- members of this node ---------------------------------------------------------------------

  joined(group: string, member: Member): void {
    if (!this.#keepsPresence(group)) return;
    this.#fanOut.add(group, member);
    if (!this.#watched.has(group)) this.#watch(group);
    const { user, channel } = member;
    if (user === undefined) return;
    if (isUserName(user)) return this.#own.joined(group, user, channel, member.info);
    this.failed(new InvalidMessage(`a user who is counted has a name of 1 to ${MAX_USER_BYTES} bytes`));
  }

  /** @param isMoving - the server has sent its client to another node */
  left(group: string, { user, channel }: Member, isMoving: boolean): void {
    const policy = this.#options.policies.of(group).presence;
    if (policy === undefined) return;
    this.#fanOut.remove(group, channel);
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
    const changes: unknown = JSON.parse(json);
    if (!Array.isArray(changes) || !changes.every(isChange)) throw new Error("no changes of presence");
    if (changes.length === 0) this.#suspect(group);
    else this.#take(group, changes);
  }

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
        this.#settling = undefined;
        this.suspect();
      },
      Math.max(quietMs - (performance.now() - beganAt), 0),
    );
  }

  async removed(group: string, changes: readonly PresenceChange[]): Promise<void> {
    if (this.#state === "closed") return;
    this.#options.announce(group, JSON.stringify(changes));
    if (changes.length === 0) this.#suspect(group);
    else this.#take(group, changes);
    await this.#options.flush().catch(() => this.dropped(group));
  }

  // ---- what became of this node's users ---------------------------------------------------------

  /** The list first, so that members here are told of their own users as of all others. */
  async before(group: string): Promise<void> {
    await this.#watched.get(group)?.reading;
  }

  changed(group: string, change: PresenceChange | undefined, isCertain: boolean): void {
    if (change !== undefined) {
      this.#options.announce(group, JSON.stringify([change]));
      this.#take(group, [change]);
    }
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
    const roster = new Roster((type, user) => this.#tell(group, type, user));
    const watched: Watched = { group, roster, reading: undefined, readAgain: false, waiting: undefined };
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
    await this.#own.settled(watched.group);
    if (watched.reading !== undefined) await watched.reading;
    else if (!watched.roster.isKnown || watched.roster.hasHole) await this.#read(watched);
    this.#checkUp();
    if (!watched.roster.isKnown) throw new LayerUnavailable("who is present could not be read");
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
        const list = await this.#options.store.list(group);
        if (this.#watched.get(group) !== watched) return;
        roster.replace(list);
      }
      this.#unsure.delete(group);
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

  #endSettling(): void {
    if (typeof this.#settling === "object") clearTimeout(this.#settling);
    this.#settling = undefined;
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

  #tell(group: string, type: "join" | "leave" | "update", { user, info: json }: StoredUser): void {
    const info = infoOf(json);
    if (type === "update") this.#own.learn(group, user, json);
    if (type === "leave") this.#own.roomAgain(group);
    const outgoing = {
      event: ReservedEvent.presence,
      ...encodePayload({ type, group, user, info }, MAX_TOLD),
    };
    this.#fanOut.emit(group, outgoing, undefined);
    const message = deepFreeze({ type: `presence.${type}`, group, user, info }) as Message;
    for (const member of this.#fanOut.all(group)) {
      if (member.handles(message.type)) member.deliver(message, group);
    }
    this.#options.facts.present.announce({ group, type, user });
  }
}

/** Never reached: names, users and infos are bounded each. */
const MAX_TOLD = Number.POSITIVE_INFINITY;

function isUserName(user: string): boolean {
  return user !== "" && Buffer.byteLength(user) <= MAX_USER_BYTES;
}

function infoOf(json: string): unknown {
  try {
    return json === "" ? null : JSON.parse(json);
  } catch {
    return null;
  }
}

function toPresentUser({ user, info, connections }: StoredUser): PresentUser {
  return { user, info: infoOf(info), connections };
}

const KINDS: readonly unknown[] = ["join", "leave", "update", "count"];

function isChange(value: unknown): value is PresenceChange {
  const { kind, user, info, connections, before, version } = (value ?? {}) as Record<string, unknown>;
  return (
    KINDS.includes(kind) &&
    typeof user === "string" &&
    typeof info === "string" &&
    [connections, before, version].every((number) => typeof number === "number")
  );
}
