/**
 * What a node of a {@link TestCluster} is connected to the others by: the memory forms of backplane, history
 * and presence, behind a cable that the test can pull. Nodes without it behave as those that lost their Redis.
 */
import {
  type Appended,
  type AppendOptions,
  type Backplane,
  type BackplaneListener,
  type Clock,
  type HistoryStore,
  LayerUnavailable,
  type LogSlice,
  MemoryBackplane,
  MemoryHistory,
  type MemoryHub,
  type MemoryLogs,
  MemoryPresence,
  type MemoryPresenceHub,
  type Position,
  type PresenceChange,
  type PresenceList,
  type PresenceListener,
  type PresenceStore,
  type Statement,
} from "../index.ts";

const PULLED = "the test has cut this node off";
/** As over Redis: so long a subscription waits, and so long, and so many, do texts. */
const SUBSCRIBE_TIMEOUT_MS = 5_000;
const MAX_WAITING_MS = 10_000;
const MAX_WAITING = 1_000;

/** What the nodes of a cluster share. */
export interface Switchboard {
  readonly clock: Clock;
  readonly hub: MemoryHub;
  readonly logs: MemoryLogs;
  readonly presences: MemoryPresenceHub;
  readonly leaseMs: number;
}

/** All lines of one node. */
export class Cables {
  readonly backplane: CutBackplane;
  readonly history: CutHistory;
  readonly presence: CutPresence;
  readonly #line = new Line();

  constructor(board: Switchboard) {
    this.backplane = new CutBackplane(this.#line, board);
    this.history = new CutHistory(this.#line, board);
    this.presence = new CutPresence(this.#line, board);
  }

  get isCut(): boolean {
    return this.#line.isCut;
  }

  /** Whether what it publishes is lost, and nobody is told before something arrives. */
  mute(isMute: boolean): void {
    this.#line.isMute = isMute;
  }

  pull(): void {
    if (this.#line.isCut) return;
    this.#line.isCut = true;
    this.backplane.pulled();
    this.presence.pulled();
  }

  /** It hears the others again. What it has to say itself waits for `speak`. */
  plug(): void {
    if (!this.#line.isCut) return;
    this.#line.isCut = false;
    this.backplane.plugged();
  }

  /** When all who come back with it hear again: what waited goes out, and its users are stated anew. */
  async speak(): Promise<void> {
    this.backplane.speak();
    await this.presence.plugged();
  }
}

class Line {
  isCut = false;
  isMute = false;

  check(): void {
    if (this.isCut) throw new LayerUnavailable(PULLED);
  }

  /** Asks, unless it is cut; cut meanwhile, nobody knows what became of it. */
  async ask<T>(question: () => Promise<T>): Promise<T> {
    this.check();
    const answer = await question();
    this.check();
    return answer;
  }
}

interface WaitingText {
  readonly topic: string;
  readonly text: string;
  readonly until: number;
  readonly left: ((isLost: boolean) => void) | undefined;
}

class CutBackplane implements Backplane {
  readonly #line: Line;
  readonly #clock: Clock;
  readonly #inner: MemoryBackplane;
  readonly #topics = new Set<string>();
  readonly #plugged = new Set<() => void>();
  /** By topic, how many texts were lost since the last one that arrived. */
  readonly #missed = new Map<string, number>();
  #waiting: WaitingText[] = [];
  #flushes: { resolve(): void; reject(error: Error): void }[] = [];
  #hasDropped = false;
  #isClosed = false;
  #listener: BackplaneListener | undefined;

  constructor(line: Line, { hub, clock }: Switchboard) {
    this.#line = line;
    this.#clock = clock;
    this.#inner = new MemoryBackplane(hub);
  }

  async open(listener: BackplaneListener): Promise<void> {
    this.#line.check();
    this.#listener = listener;
    await this.#inner.open({
      ...listener,
      hear: (topic, text) => {
        if (this.#line.isCut) return;
        const end = text.indexOf(" ");
        const missed = Number(text.slice(0, end));
        if (missed > 0) listener.lost({ topic, missed });
        listener.hear(topic, text.slice(end + 1));
      },
    });
  }

  async subscribe(topic: string): Promise<void> {
    this.#topics.add(topic);
    try {
      await this.#reached();
      await this.#inner.subscribe(topic);
    } catch (error) {
      this.#topics.delete(topic);
      throw error;
    }
  }

  async unsubscribe(topic: string): Promise<void> {
    this.#topics.delete(topic);
    await this.#inner.unsubscribe(topic);
  }

  publish(topic: string, text: () => string, left?: (isLost: boolean) => void): void {
    if (this.#line.isMute) {
      this.#missed.set(topic, (this.#missed.get(topic) ?? 0) + 1);
      // For all that this node can know, it has left.
      return left?.(false);
    }
    if (!this.#line.isCut || this.#isClosed) return this.#send(topic, text, left);
    this.#waiting.push({ topic, text: text(), left, until: this.#clock.now() + MAX_WAITING_MS });
    if (this.#waiting.length > MAX_WAITING) this.#drop(this.#waiting.shift());
  }

  flush(): Promise<void> {
    if (this.#hasDropped) {
      this.#hasDropped = false;
      return Promise.reject(new LayerUnavailable("some of what was published never left this node"));
    }
    if (this.#waiting.length === 0) return this.#inner.flush();
    return new Promise((resolve, reject) => void this.#flushes.push({ resolve, reject }));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const waiting of this.#waiting.splice(0)) this.#drop(waiting);
    for (const go of this.#plugged) go();
    this.#settleFlushes();
    await this.#inner.close();
  }

  pulled(): void {
    this.#listener?.down(PULLED);
  }

  plugged(): void {
    if (this.#isClosed) return;
    for (const go of this.#plugged) go();
    if (this.#topics.size > 0) this.#listener?.lost({});
    this.#listener?.up();
  }

  speak(): void {
    const now = this.#clock.now();
    for (const waiting of this.#waiting.splice(0)) {
      if (waiting.until <= now) this.#drop(waiting);
      else this.#send(waiting.topic, () => waiting.text, waiting.left);
    }
    this.#settleFlushes();
  }

  /** With how many were lost before it, as numbers on texts would show. */
  #send(topic: string, text: () => string, left?: (isLost: boolean) => void): void {
    const numbered = () => {
      const missed = this.#missed.get(topic) ?? 0;
      this.#missed.delete(topic);
      return `${missed} ${text()}`;
    };
    this.#inner.publish(topic, numbered, left);
  }

  #drop(waiting: WaitingText | undefined): void {
    if (waiting === undefined) return;
    this.#hasDropped = true;
    waiting.left?.(true);
    this.#listener?.dropped(waiting.topic, 1);
  }

  #settleFlushes(): void {
    const isLost = this.#hasDropped && this.#flushes.length > 0;
    if (isLost) this.#hasDropped = false;
    for (const { resolve, reject } of this.#flushes.splice(0)) {
      if (isLost) reject(new LayerUnavailable("some of what was published never left this node"));
      else resolve();
    }
  }

  /** Resolves when the others can be reached; rejects after a while. */
  async #reached(): Promise<void> {
    if (!this.#line.isCut) return;
    await new Promise<void>((resolve, reject) => {
      const go = () => {
        this.#clock.clearTimeout(timer);
        this.#plugged.delete(go);
        resolve();
      };
      const timer = this.#clock.setTimeout(() => {
        this.#plugged.delete(go);
        reject(new LayerUnavailable(`${PULLED}: no subscription within ${SUBSCRIBE_TIMEOUT_MS} ms`));
      }, SUBSCRIBE_TIMEOUT_MS);
      this.#plugged.add(go);
    });
  }
}

class CutHistory implements HistoryStore {
  readonly isShared = false;
  readonly logs: MemoryLogs;
  readonly #line: Line;
  readonly #inner: MemoryHistory;

  constructor(line: Line, { logs }: Switchboard) {
    this.logs = logs;
    this.#line = line;
    this.#inner = new MemoryHistory(logs);
  }

  async open(): Promise<void> {
    await this.#line.ask(() => this.#inner.open());
  }

  append(group: string, text: string, options: AppendOptions): Promise<Appended> {
    return this.#line.ask(() => this.#inner.append(group, text, options));
  }

  read(group: string, from: number, limit: number): Promise<LogSlice> {
    return this.#line.ask(() => this.#inner.read(group, from, limit));
  }

  readBefore(group: string, before: number | undefined, limit: number): Promise<LogSlice> {
    return this.#line.ask(() => this.#inner.readBefore(group, before, limit));
  }

  tops(groups: readonly string[]): Promise<readonly (Position | undefined)[]> {
    return this.#line.ask(() => this.#inner.tops(groups));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

class CutPresence implements PresenceStore {
  readonly leaseMs: number;
  readonly #line: Line;
  readonly #inner: MemoryPresence;
  #listener: PresenceListener | undefined;

  constructor(line: Line, { presences, leaseMs }: Switchboard) {
    this.leaseMs = leaseMs;
    this.#line = line;
    this.#inner = new MemoryPresence(presences, leaseMs);
  }

  async open(node: string, listener: PresenceListener, logs?: unknown): Promise<void> {
    await this.#line.ask(() => this.#inner.open(node, listener, logs));
    this.#listener = listener;
  }

  state(group: string, user: string, statement: Statement): Promise<PresenceChange | "full" | undefined> {
    return this.#line.ask(() => this.#inner.state(group, user, statement));
  }

  withdraw(group: string, user: string): Promise<PresenceChange | undefined> {
    return this.#line.ask(() => this.#inner.withdraw(group, user));
  }

  list(group: string): Promise<PresenceList> {
    return this.#line.ask(() => this.#inner.list(group));
  }

  count(group: string): Promise<number> {
    return this.#line.ask(() => this.#inner.count(group));
  }

  async close(holdMs: number): Promise<void> {
    this.#listener = undefined;
    await this.#inner.close(holdMs);
  }

  pulled(): void {
    this.#inner.reach(false);
    this.#listener?.down();
  }

  async plugged(): Promise<void> {
    this.#inner.reach(true);
    await this.#listener?.restate(0);
  }
}

export type { CutBackplane, CutHistory, CutPresence };
