import type { Backplane } from "../types.ts";

interface Topic {
  users: number;
  isOpen: boolean;
  /** The opening or closing that is under way. Topics open and close in turn. */
  step: Promise<void> | undefined;
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

  /** Resolved: what any node publishes to the topic from now on is heard. Each needs one `release`. */
  async acquire(name: string): Promise<void> {
    const topic = this.#topics.get(name) ?? { users: 0, isOpen: false, step: undefined };
    this.#topics.set(name, topic);
    topic.users += 1;
    try {
      while (!topic.isOpen || topic.step !== undefined) {
        if (topic.step === undefined) await this.#take(topic, () => this.#open(name, topic));
        // Somebody else's step; should it fail, the error is theirs and we try ourselves.
        else await topic.step.catch(() => {});
      }
    } catch (error) {
      topic.users -= 1;
      this.#forget(name, topic);
      throw error;
    }
  }

  /** The other half of `acquire`. Resolved: closed, if this was the last user. */
  async release(name: string): Promise<void> {
    const topic = this.#topics.get(name);
    if (topic === undefined || topic.users === 0) return;
    topic.users -= 1;
    while (topic.users === 0 && topic.step !== undefined) await topic.step.catch(() => {});
    if (topic.users > 0 || !topic.isOpen) return this.#forget(name, topic);
    await this.#take(topic, () => this.#close(name, topic)).finally(() => this.#forget(name, topic));
  }

  has(name: string): boolean {
    return this.#topics.has(name);
  }

  get size(): number {
    return this.#topics.size;
  }

  #take(topic: Topic, step: () => Promise<void>): Promise<void> {
    topic.step = step().finally(() => {
      topic.step = undefined;
    });
    return topic.step;
  }

  async #open(name: string, topic: Topic): Promise<void> {
    await this.#backplane.subscribe(name);
    topic.isOpen = true;
  }

  async #close(name: string, topic: Topic): Promise<void> {
    topic.isOpen = false;
    await this.#backplane.unsubscribe(name);
  }

  #forget(name: string, topic: Topic): void {
    if (topic.users === 0 && topic.step === undefined && this.#topics.get(name) === topic) {
      this.#topics.delete(name);
    }
  }
}
