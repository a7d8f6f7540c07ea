/**
 * What those who look at a dashboard want to see beyond the reports: a tail of signals, connections, groups. A wish is
 * said to all nodes and said again as long as somebody looks; each node grants it by itself, straight to the
 * consumer that wished, until it is silent. Nobody waits for anybody.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Message, PartContext } from "../index.ts";
import { findConnections } from "./connections.ts";
import { findGroups, fittingGroups } from "./groups.ts";
import { hasWords, type Line, lineOf, SIGNALS, watchable } from "./lines.ts";
import { type GroupPlace, isSamePlace, readPlace, type ToldGroup, tellGroup } from "./members.ts";
import { fitting, text } from "./report.ts";
import type { SentCounts } from "./sent-counts.ts";

export const WISH = "dashboard.wish";
export const TAIL = "dashboard.tail";
export const CONNECTIONS = "dashboard.connections";
export const GROUPS = "dashboard.groups";
export const GROUP = "dashboard.group";
/** How long a wish holds that is not said again; it is said this often, divided by three. */
export const WISH_MS = 9_000;

const MAX_WISHES = 20;
const TELL_MS = 500;
/** Lines that are told in one go; what is more is counted. */
const MAX_LINES = 40;
/** How often connections and groups are told, in turns of the tail. */
const LIST_TURNS = 4;
const CHANNEL = /^[A-Za-z0-9._-]{1,99}![A-Za-z0-9._-]{1,99}$/;

export interface Wish {
  /** Names of signals; empty: no tail. */
  readonly signals: readonly string[];
  /** What lines must have in them, in lower case. */
  readonly words: string;
  /** Undefined: no connections; otherwise what they must have in them. */
  readonly connections: string | undefined;
  /** Undefined: no groups; otherwise what their names must have in them. */
  readonly groups: string | undefined;
  /** One whose members are told. */
  readonly group: GroupPlace | undefined;
}

export const NO_WISH: Wish = {
  signals: [],
  words: "",
  connections: undefined,
  groups: undefined,
  group: undefined,
};

interface Granted {
  readonly wish: Wish;
  readonly signals: ReadonlySet<string>;
  readonly endsAt: number;
  lines: Line[];
  left: number;
}

export function wishMessage(channel: string, { connections, groups, group, ...wish }: Wish): Message {
  return {
    ...{ type: WISH, channel, ...wish },
    ...(connections === undefined ? {} : { connections }),
    ...(groups === undefined ? {} : { groups }),
    ...(group === undefined ? {} : { group }),
  };
}

/** Whatever it says, in bounds. */
export function readWish(from: Readonly<Record<string, unknown>>): Wish {
  const { signals, words, connections, groups, group } = from;
  const wanted = Array.isArray(signals) ? signals.slice(0, SIGNALS.length) : [];
  const lower = (value: unknown) => (typeof value === "string" ? text(value).toLowerCase() : undefined);
  return {
    signals: SIGNALS.filter((name) => wanted.includes(name)),
    words: lower(words) ?? "",
    connections: lower(connections),
    groups: lower(groups),
    group: readPlace(group),
  };
}

/** What is looked up for it again and again. */
function wantsLists({ connections, groups, group }: Wish): boolean {
  return connections !== undefined || groups !== undefined || group !== undefined;
}

function wantsSame(a: Wish | undefined, b: Wish): boolean {
  return a?.connections === b.connections && a?.groups === b.groups && isSamePlace(a?.group, b.group);
}

/** Grants on this node what is wished anywhere. */
export class Wishes {
  readonly #context: PartContext;
  readonly #sent: SentCounts;
  readonly #watchable: ReturnType<typeof watchable>;
  /** The dashboard's own route, whose events would cause lines that cause events. */
  readonly #own: string;
  readonly #granted = new Map<string, Granted>();
  readonly #ears = new Map<string, () => void>();
  #timer: NodeJS.Timeout | undefined;
  #turn = 0;
  #isLooking = false;
  #isWanted = false;

  constructor(context: PartContext, sent: SentCounts, own: string, taskSignals: object | undefined) {
    this.#context = context;
    this.#sent = sent;
    this.#own = own;
    this.#watchable = watchable(context.signals, taskSignals);
  }

  hear(message: Message): void {
    const { channel } = message;
    if (typeof channel !== "string" || !CHANNEL.test(channel)) return;
    const wish = readWish(message);
    const before = this.#granted.get(channel);
    if (wish.signals.length === 0 && !wantsLists(wish)) this.#granted.delete(channel);
    else if (before !== undefined || this.#granted.size < MAX_WISHES) {
      const { lines = [], left = 0 } = before ?? {};
      const endsAt = performance.now() + WISH_MS;
      this.#granted.set(channel, { wish, signals: new Set(wish.signals), endsAt, lines, left });
      if (!wantsSame(before?.wish, wish)) void this.#tellLists();
    }
    this.#listen();
  }

  stop(): void {
    this.#granted.clear();
    this.#listen();
  }

  /** To what is wished, and to nothing else. */
  #listen(): void {
    const wishes = [...this.#granted.values()].map(({ wish }) => wish);
    this.#sent.follow(wishes.flatMap(({ group }) => group ?? []));
    const wanted = new Set(wishes.flatMap(({ signals }) => signals));
    for (const [name, end] of this.#ears) {
      if (wanted.has(name)) continue;
      end();
      this.#ears.delete(name);
    }
    for (const name of wanted) {
      if (this.#ears.has(name)) continue;
      const end = this.#watchable.get(name)?.connect((fact) => this.#note(name, fact));
      if (end !== undefined) this.#ears.set(name, end);
    }
    if (this.#granted.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    } else if (this.#timer === undefined) {
      this.#timer = setInterval(() => this.#tell(), TELL_MS);
      this.#timer.unref();
    }
  }

  #note(name: string, fact: Readonly<Record<string, unknown>>): void {
    if (fact.route === this.#own && name !== "connected" && name !== "disconnected" && name !== "denied")
      return;
    let line: Line | undefined;
    for (const granted of this.#granted.values()) {
      if (!granted.signals.has(name)) continue;
      if (granted.lines.length >= MAX_LINES && granted.wish.words === "") {
        granted.left += 1;
        continue;
      }
      line ??= lineOf(name, fact, (user) => this.#context.userId(user));
      if (!hasWords(line, granted.wish.words)) continue;
      if (granted.lines.length < MAX_LINES) granted.lines.push(line);
      else granted.left += 1;
    }
  }

  #tell(): void {
    const now = performance.now();
    this.#turn += 1;
    for (const [channel, granted] of this.#granted) {
      if (granted.endsAt < now) {
        this.#granted.delete(channel);
        continue;
      }
      const { lines, left } = granted;
      if (lines.length > 0 || left > 0) {
        granted.lines = [];
        granted.left = 0;
        this.#send(channel, { type: TAIL, lines, left });
      }
    }
    if (this.#turn % LIST_TURNS === 0) void this.#tellLists();
    this.#listen();
  }

  /** To all who wish it, looked for once; who wishes something else meanwhile is told of the next time. */
  async #tellLists(): Promise<void> {
    this.#isWanted = true;
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      while (this.#isWanted) {
        this.#isWanted = false;
        await this.#lookForConnections();
        await this.#lookForGroups();
        await this.#lookAtGroups();
      }
    } finally {
      this.#isLooking = false;
    }
  }

  async #lookForConnections(): Promise<void> {
    const searches = this.#wanted("connections").map(([, words]) => words);
    if (searches.length === 0) return;
    const found = await findConnections(this.#context.app.running(), searches);
    for (const [channel, words] of this.#wanted("connections")) {
      const { total, connections = [] } = found.get(words) ?? {};
      if (total === undefined) continue;
      const fit = fitting(connections, this.#maxBytes);
      this.#send(channel, { type: CONNECTIONS, words, total, connections: fit });
    }
  }

  async #lookForGroups(): Promise<void> {
    const searches = this.#wanted("groups").map(([, words]) => words);
    const found = await findGroups(this.#context.app, this.#sent, searches);
    for (const [channel, words] of this.#wanted("groups")) {
      const { total, groups = [] } = found.get(words) ?? {};
      if (total === undefined) continue;
      const fit = fittingGroups(groups, this.#maxBytes);
      this.#send(channel, { type: GROUPS, words, total, groups: fit });
    }
  }

  /** One after the other, so that others have their turn between large ones. */
  async #lookAtGroups(): Promise<void> {
    const told = new Map<string, ToldGroup | undefined>();
    for (const [channel] of this.#wanted("group")) {
      const place = this.#granted.get(channel)?.wish.group;
      if (place === undefined) continue;
      const key = `${place.layer} ${place.group}`;
      if (!told.has(key)) {
        await nextTurn();
        told.set(key, tellGroup(this.#context.app, this.#sent, place, this.#maxBytes));
      }
      const group = told.get(key);
      if (group !== undefined) this.#send(channel, { type: GROUP, ...group });
    }
  }

  /** Those who wish for that, and for what. */
  #wanted<Name extends "connections" | "groups" | "group">(
    name: Name,
  ): readonly (readonly [channel: string, wish: NonNullable<Wish[Name]>])[] {
    return [...this.#granted].flatMap(([channel, { wish }]) => {
      const wanted = wish[name];
      return wanted === undefined ? [] : [[channel, wanted as NonNullable<Wish[Name]>] as const];
    });
  }

  /** Of the lists in one message, with room for what stands around them. */
  get #maxBytes(): number {
    return this.#context.app.settings.limits.maxMessageBytes / 2;
  }

  #send(channel: string, message: Message): void {
    this.#context.layer.send(channel, { ...message, node: this.#context.node }).catch(() => {
      // It is told again, or nobody is there any more.
    });
  }
}
