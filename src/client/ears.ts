/** Who listens to what, of one face. */
export class Ears<Events> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** @returns ends the listening */
  on<E extends keyof Events>(name: E, listener: (event: Events[E]) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  tell<E extends keyof Events>(name: E, event: Events[E]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) apart(() => listener(event as never));
  }

  clear(): void {
    for (const listeners of this.#listeners.values()) listeners.clear();
  }
}

/** What a listener of the page throws is reported as uncaught: others hear the event all the same. */
export function apart(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
