/**
 * What those who look at a dashboard want to see beyond the reports: a tail of signals, connections. A wish is
 * said to all nodes and said again as long as somebody looks; each node grants it by itself, straight to the
 * consumer that wished, until it is silent. Nobody waits for anybody.
 */
import type { Message, PartContext } from "../index.ts";
import { findConnections } from "./connections.ts";
import { hasWords, type Line, lineOf, SIGNALS, watchable } from "./lines.ts";
import { text } from "./report.ts";

export const WISH = "dashboard.wish";
export const TAIL = "dashboard.tail";
export const CONNECTIONS = "dashboard.connections";
/** How long a wish holds that is not said again; it is said this often, divided by three. */
export const WISH_MS = 9_000;

const MAX_WISHES = 20;
const TELL_MS = 500;
/** Lines that are told in one go; what is more is counted. */
const MAX_LINES = 40;
/** How often connections are told, in turns of the tail. */
const CONNECTION_TURNS = 4;
const CHANNEL = /^[A-Za-z0-9._-]{1,99}![A-Za-z0-9._-]{1,99}$/;

export interface Wish {
  /** Names of signals; empty: no tail. */
  readonly signals: readonly string[];
  /** What lines must have in them, in lower case. */
  readonly words: string;
  /** Undefined: no connections; otherwise what they must have in them. */
  readonly connections: string | undefined;
}

export const NO_WISH: Wish = { signals: [], words: "", connections: undefined };

interface Granted {
  readonly wish: Wish;
  readonly signals: ReadonlySet<string>;
  readonly endsAt: number;
  lines: Line[];
  left: number;
}

export function wishMessage(channel: string, { signals, words, connections }: Wish): Message {
  return { type: WISH, channel, signals, words, ...(connections === undefined ? {} : { connections }) };
}

/** Whatever it says, in bounds. */
export function readWish(from: Readonly<Record<string, unknown>>): Wish {
  const { signals, words, connections } = from;
  const wanted = Array.isArray(signals) ? signals.slice(0, SIGNALS.length) : [];
  return {
    signals: SIGNALS.filter((name) => wanted.includes(name)),
    words: text(words).toLowerCase(),
    connections: typeof connections === "string" ? text(connections).toLowerCase() : undefined,
  };
}

/** Grants on this node what is wished anywhere. */
export class Wishes {
  readonly #context: PartContext;
  readonly #watchable: ReturnType<typeof watchable>;
  /** The dashboard's own route, whose events would cause lines that cause events. */
  readonly #own: string;
  readonly #granted = new Map<string, Granted>();
  readonly #ears = new Map<string, () => void>();
  #timer: NodeJS.Timeout | undefined;
  #turn = 0;
  #isLooking = false;
  #isWanted = false;

  constructor(context: PartContext, own: string, taskSignals: object | undefined) {
    this.#context = context;
    this.#own = own;
    this.#watchable = watchable(context.signals, taskSignals);
  }

  hear(message: Message): void {
    const { channel } = message;
    if (typeof channel !== "string" || !CHANNEL.test(channel)) return;
    const wish = readWish(message);
    const before = this.#granted.get(channel);
    const isNone = wish.signals.length === 0 && wish.connections === undefined;
    if (isNone) this.#granted.delete(channel);
    else if (before !== undefined || this.#granted.size < MAX_WISHES) {
      const { lines = [], left = 0 } = before ?? {};
      const endsAt = performance.now() + WISH_MS;
      this.#granted.set(channel, { wish, signals: new Set(wish.signals), endsAt, lines, left });
      if (before?.wish.connections !== wish.connections) void this.#tellConnections();
    }
    this.#listen();
  }

  stop(): void {
    this.#granted.clear();
    this.#listen();
  }

  /** To what is wished, and to nothing else. */
  #listen(): void {
    const wanted = new Set([...this.#granted.values()].flatMap(({ wish }) => wish.signals));
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
        this.#send(channel, { type: TAIL, node: this.#context.node, lines, left });
      }
    }
    if (this.#turn % CONNECTION_TURNS === 0) void this.#tellConnections();
    this.#listen();
  }

  /** To all who wish it, looked for once; who wishes something else meanwhile is told of the next time. */
  async #tellConnections(): Promise<void> {
    this.#isWanted = true;
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      while (this.#isWanted) {
        this.#isWanted = false;
        await this.#lookForConnections();
      }
    } finally {
      this.#isLooking = false;
    }
  }

  async #lookForConnections(): Promise<void> {
    const { app, node } = this.#context;
    const wanted = () =>
      [...this.#granted].map(([channel, { wish }]) => [channel, wish.connections] as const);
    const searches = wanted().flatMap(([, words]) => (words === undefined ? [] : [words]));
    if (searches.length === 0) return;
    const found = await findConnections(app.running(), searches);
    for (const [channel, words] of wanted()) {
      const told = words === undefined ? undefined : found.get(words);
      if (told !== undefined) this.#send(channel, { type: CONNECTIONS, node, words, ...told });
    }
  }

  #send(channel: string, message: Message): void {
    this.#context.layer.send(channel, message).catch(() => {
      // It is told again, or nobody is there any more.
    });
  }
}
