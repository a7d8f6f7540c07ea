import { randomBytes } from "node:crypto";
import {
  type Appended,
  type AppendOptions,
  type HistoryStore,
  LayerUnavailable,
  type LogEntry,
  type LogSlice,
  type Position,
} from "sluice";

interface Log {
  epoch: string;
  entries: LogEntry[];
  top: { offset: number; id: string };
}

/** A store that tests can break, cut, replace and slow down. Several nodes may share one. */
export class ScriptedHistory implements HistoryStore {
  readonly isShared = false;
  readonly logs = new Map<string, Log>();
  isDown = false;
  /** Held until the test lets go. */
  gate: Promise<void> = Promise.resolve();
  reads = 0;
  /** The same, with those that are held. */
  begun = 0;

  async open() {}
  async close() {}

  async append(group: string, text: string, { size }: AppendOptions): Promise<Appended> {
    this.#check();
    const log = this.logs.get(group) ?? {
      epoch: randomBytes(6).toString("hex"),
      entries: [],
      top: { offset: 0, id: "" },
    };
    this.logs.set(group, log);
    const entry = { offset: log.top.offset + 1, id: randomBytes(6).toString("hex"), at: Date.now(), text };
    log.entries = [...log.entries, entry].slice(-size);
    log.top = { offset: entry.offset, id: entry.id };
    return { epoch: log.epoch, ...log.top, at: entry.at, isKnown: false };
  }

  async read(group: string, from: number, limit: number): Promise<LogSlice> {
    this.begun += 1;
    await this.#asked();
    this.reads += 1;
    const entries = this.logs.get(group)?.entries.filter(({ offset }) => offset >= from) ?? [];
    return { top: this.#top(group), entries: entries.slice(0, limit) };
  }

  async readBefore(group: string, before = Number.POSITIVE_INFINITY, limit: number): Promise<LogSlice> {
    await this.#asked();
    const entries = this.logs.get(group)?.entries.filter(({ offset }) => offset < before) ?? [];
    return { top: this.#top(group), entries: entries.slice(-limit) };
  }

  async tops(groups: readonly string[]): Promise<readonly (Position | undefined)[]> {
    this.#check();
    return groups.map((group) => this.#top(group));
  }

  async #asked(): Promise<void> {
    await this.gate;
    // In another turn, as from any place outside.
    await new Promise((resolve) => setImmediate(resolve));
    this.#check();
  }

  #top(group: string): Position | undefined {
    const log = this.logs.get(group);
    return log && { epoch: log.epoch, ...log.top };
  }

  #check(): void {
    if (this.isDown) throw new LayerUnavailable("the store is down");
  }
}
