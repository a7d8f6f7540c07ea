/**
 * A history of which the store sees no text: each entry is sealed for its group. Names of groups, offsets,
 * sizes and times are in the open.
 */
import { isSealed, type Seal } from "../sealing.ts";
import type { Appended, AppendOptions, HistoryStore, LogEntry, LogSlice, Position } from "./history-store.ts";

/** Cannot be read as anything, and keeps its place. */
const UNREADABLE = "";

export class SealedHistory implements HistoryStore {
  readonly isShared: boolean;
  readonly #inner: HistoryStore;
  readonly #seal: Seal;
  readonly #presenceSeal: Seal;

  /** @param presenceSeal - that of the presence store which appends to the same logs */
  constructor(inner: HistoryStore, seal: Seal, presenceSeal: Seal) {
    this.isShared = inner.isShared;
    this.#inner = inner;
    this.#seal = seal;
    this.#presenceSeal = presenceSeal;
  }

  get logs(): unknown {
    return this.#inner.logs;
  }

  open(): Promise<void> {
    return this.#inner.open();
  }

  append(group: string, text: string, options: AppendOptions): Promise<Appended> {
    return this.#inner.append(group, this.#seal.seal(text, group), options);
  }

  async read(group: string, from: number, limit: number): Promise<LogSlice> {
    return this.#opened(group, await this.#inner.read(group, from, limit));
  }

  async readBefore(group: string, before: number | undefined, limit: number): Promise<LogSlice> {
    return this.#opened(group, await this.#inner.readBefore(group, before, limit));
  }

  tops(groups: readonly string[]): Promise<readonly (Position | undefined)[]> {
    return this.#inner.tops(groups);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #opened(group: string, { top, entries }: LogSlice): LogSlice {
    return { top, entries: entries.map((entry) => this.#entry(group, entry)) };
  }

  #entry(group: string, entry: LogEntry): LogEntry {
    const text = isTold(entry.text)
      ? openedTold(this.#presenceSeal, group, entry.text)
      : this.#seal.open(entry.text, group);
    return { ...entry, text: text ?? UNREADABLE };
  }
}

// ---- who came and left ----------------------------------------------------------------------------

/**
 * A presence store writes `<header>[change]` into the log, in one step with what it changes, so it must see
 * the change: the header is sealed, and of the change the user's info.
 */
const TOLD = "told";
const INFO = "info";

/** Whether an entry is of that form. A sealed text alone has no line break. */
function isTold(text: string): boolean {
  return isSealed(text) && text.includes("\n");
}

export function sealedHeader(seal: Seal, group: string, header: string): string {
  const sealed = seal.sealSame(header, group, TOLD);
  // In the open it is as it was.
  return sealed === header ? header : `${sealed}\n`;
}

/** Undefined, and announced, for what cannot be opened. */
export function openedTold(seal: Seal, group: string, text: string): string | undefined {
  if (!isTold(text)) return seal.open(text, group);
  const end = text.indexOf("\n");
  const header = seal.open(text.slice(0, end), group, TOLD);
  if (header === undefined) return undefined;
  const changes = parsedList(text.slice(end + 1)).map((change) => {
    const { user, info } = change;
    if (typeof user !== "string" || typeof info !== "string") return change;
    return { ...change, info: openedInfo(seal, group, user, info) };
  });
  return header + JSON.stringify(changes);
}

export function sealedInfo(seal: Seal, group: string, user: string, info: string): string {
  return info === "" ? info : seal.sealSame(info, group, INFO, user);
}

/** Nothing, if it cannot be opened: the user is there all the same. */
export function openedInfo(seal: Seal, group: string, user: string, info: string): string {
  return info === "" ? info : (seal.open(info, group, INFO, user) ?? "");
}

function parsedList(json: string): readonly Record<string, unknown>[] {
  try {
    const value: unknown = JSON.parse(json);
    return Array.isArray(value) ? value.filter((entry) => typeof entry === "object" && entry !== null) : [];
  } catch {
    return [];
  }
}
