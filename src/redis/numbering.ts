/**
 * Numbers for what travels, so that what did not arrive is noticed: each sender counts the texts of each
 * topic. A stream is one run of such a count; a sender that has forgotten a count begins a new stream.
 */

/** Topics whose counts a sender keeps; the one not used for longest is forgotten first. */
const MAX_TOPICS = 10_000;
/** Senders that a listener remembers for one topic; of nodes that are gone one entry each is left. */
const MAX_SENDERS = 1_000;

/** The sender's side. */
export class Numbering {
  readonly #counts = new Map<string, { stream: number; next: number }>();
  #streams = 0;

  /** Numbers for `count` texts. */
  take(topic: string, count: number): { readonly stream: number; readonly first: number } {
    let entry = this.#counts.get(topic);
    if (entry === undefined) {
      this.#streams += 1;
      entry = { stream: this.#streams, next: 0 };
      this.#forgetOldest();
    } else this.#counts.delete(topic);
    this.#counts.set(topic, entry);
    const { stream, next: first } = entry;
    entry.next += count;
    return { stream, first };
  }

  #forgetOldest(): void {
    if (this.#counts.size < MAX_TOPICS) return;
    for (const topic of this.#counts.keys()) {
      this.#counts.delete(topic);
      return;
    }
  }
}

/** What became of numbered texts: how many to leave out because they were heard already, and the hole before them. */
export interface Hearing {
  readonly known: number;
  readonly missed: number;
}

/** The listener's side. */
export class Holes {
  readonly #topics = new Map<string, Map<string, { stream: number; next: number }>>();

  /** Texts of one sender have come. The first of a sender is taken as it is: what was before, nobody here asked for. */
  hear(topic: string, sender: string, stream: number, first: number, count: number): Hearing {
    const senders = this.#topics.get(topic) ?? new Map<string, { stream: number; next: number }>();
    this.#topics.set(topic, senders);
    const heard = senders.get(sender);
    if (heard === undefined || heard.stream !== stream) {
      if (heard === undefined) forgetOldest(senders);
      senders.set(sender, { stream, next: first + count });
      // A new stream begins at 0; an older one cannot come back.
      return { known: 0, missed: heard === undefined ? 0 : first };
    }
    const known = Math.min(Math.max(heard.next - first, 0), count);
    const missed = Math.max(first - heard.next, 0);
    heard.next = Math.max(heard.next, first + count);
    return { known, missed };
  }

  /** The topic is closed here: what comes meanwhile is not missed. */
  forget(topic: string): void {
    this.#topics.delete(topic);
  }

  get size(): number {
    return this.#topics.size;
  }
}

function forgetOldest(senders: Map<string, unknown>): void {
  if (senders.size < MAX_SENDERS) return;
  for (const sender of senders.keys()) {
    senders.delete(sender);
    return;
  }
}
