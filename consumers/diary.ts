import type { ApplicationPart, ChannelLayer, PartContext } from "sluice";
import { diaryGroup } from "../routing/groups.ts";

/** What was said on one node in some minutes. */
export interface DiaryPage {
  readonly messages: number;
  readonly rooms: readonly string[];
  /** The beginnings of their ids: enough to count them. */
  readonly people: readonly string[];
}

const WRITE_MS = 10 * 60_000;
const MOST_ROOMS = 100;
const MOST_PEOPLE = 500;

/**
 * Counts what is said on this node, and now and then writes it down where all nodes do. A node that is killed
 * takes its last minutes along.
 */
export class Diary implements ApplicationPart {
  #layer: ChannelLayer | undefined;
  #day = "";
  #messages = 0;
  readonly #rooms = new Set<string>();
  readonly #people = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  async open({ layer }: PartContext): Promise<void> {
    this.#layer = layer;
  }

  note(room: string, person: string): void {
    const isFull = this.#rooms.size === MOST_ROOMS || this.#people.size === MOST_PEOPLE;
    if (isFull || this.#day !== dayOf(Date.now())) void this.#write();
    this.#day = dayOf(Date.now());
    this.#messages += 1;
    this.#rooms.add(room);
    this.#people.add(person.slice(0, 11));
    this.#timer ??= setTimeout(() => void this.#write(), WRITE_MS).unref();
  }

  async close(): Promise<void> {
    await this.#write();
  }

  /** What cannot be written, as Redis is away, is not counted. */
  async #write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#messages === 0) return;
    const page: DiaryPage = { messages: this.#messages, rooms: [...this.#rooms], people: [...this.#people] };
    this.#messages = 0;
    this.#rooms.clear();
    this.#people.clear();
    await this.#layer?.groupEmit(diaryGroup(this.#day), "page", page).catch(() => {});
  }
}

/** `2026-11-21`, in UTC. */
export function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}
