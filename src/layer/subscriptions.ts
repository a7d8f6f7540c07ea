import type { Backplane } from "../types.ts";

interface Topic {
  users: number;
  isOpen: boolean;
  /** Under way; topics open and close in turn, so at most one of the two is. */
  opening: Promise<void> | undefined;
  closing: Promise<void> | undefined;
}

/**
 * First in, last out: a topic opens on the backplane with its first user here and closes with its last.
 * A user that comes while the last one's close is under way waits for it and opens the topic again, so
 * nobody is told yes too early and nobody goes deaf.
 */
export class Subscriptions {
  readonly #backplane: Backplane;
  readonly #topics = new Map<string, Topic>();

  constructor(backplane: Backplane) {
    this.#backplane = backplane;
  }

  /**
   * Resolved: what any node publishes to the topic from now on is heard. Each needs one `release`. When
   * the backplane refuses, all who wait for that opening are told.
   */
  async acquire(name: string): Promise<void> {
    const topic = this.#topics.get(name) ?? {
      users: 0,
      isOpen: false,
      opening: undefined,
      closing: undefined,
    };
    this.#topics.set(name, topic);
    topic.users += 1;
    try {
      while (topic.closing !== undefined) await topic.closing.catch(() => {});
      if (!topic.isOpen) await (topic.opening ?? this.#open(name, topic));
    } catch (error) {
      topic.users -= 1;
      this.#forget(name, topic);
      throw error;
    }
  }

  /** The same at once, if the topic is open already; otherwise nothing is done and it says false. */
  tryAcquire(name: string): boolean {
    const topic = this.#topics.get(name);
    if (topic === undefined || !topic.isOpen) return false;
    topic.users += 1;
    return true;
  }

  /** The other half of `acquire`. Resolved: closed, if this was the last user. */
  async release(name: string): Promise<void> {
    const topic = this.#topics.get(name);
    if (topic === undefined || topic.users === 0) return;
    topic.users -= 1;
    if (topic.users === 0 && topic.opening !== undefined) await topic.opening.catch(() => {});
    if (topic.users === 0 && topic.isOpen) await this.#close(name, topic);
    this.#forget(name, topic);
  }

  has(name: string): boolean {
    return this.#topics.has(name);
  }

  get size(): number {
    return this.#topics.size;
  }

  #open(name: string, topic: Topic): Promise<void> {
    topic.opening = this.#backplane
      .subscribe(name)
      .then(() => {
        topic.isOpen = true;
      })
      .finally(() => {
        topic.opening = undefined;
      });
    return topic.opening;
  }

  #close(name: string, topic: Topic): Promise<void> {
    topic.isOpen = false;
    topic.closing = this.#backplane.unsubscribe(name).finally(() => {
      topic.closing = undefined;
      this.#forget(name, topic);
    });
    return topic.closing;
  }

  #forget(name: string, topic: Topic): void {
    const isUsed =
      topic.users > 0 || topic.isOpen || topic.opening !== undefined || topic.closing !== undefined;
    if (!isUsed && this.#topics.get(name) === topic) this.#topics.delete(name);
  }
}
