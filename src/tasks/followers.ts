import type { JobFollower } from "../index.ts";

/** Who follows which jobs: what a broker tells it tells to these. */
export class Followers {
  readonly #jobs = new Map<string, Set<JobFollower>>();

  /** Returns what ends it. */
  add(id: string, follower: JobFollower): () => void {
    const followers = this.#jobs.get(id) ?? new Set();
    this.#jobs.set(id, followers);
    // Of its own, or one that is given twice would be told once.
    const own: JobFollower = {
      changed: () => follower.changed(),
      ...(follower.progress && { progress: (json) => follower.progress?.(json) }),
    };
    followers.add(own);
    return () => {
      followers.delete(own);
      if (followers.size === 0 && this.#jobs.get(id) === followers) this.#jobs.delete(id);
    };
  }

  has(id: string): boolean {
    return this.#jobs.has(id);
  }

  get ids(): Iterable<string> {
    return this.#jobs.keys();
  }

  tellChanged(id: string): void {
    for (const follower of this.#jobs.get(id) ?? []) follower.changed();
  }

  tellProgress(id: string, json: string): void {
    for (const follower of this.#jobs.get(id) ?? []) follower.progress?.(json);
  }

  clear(): void {
    this.#jobs.clear();
  }
}
