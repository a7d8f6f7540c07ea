import type { JobFollower } from "../index.ts";
import type { RedisHearing } from "../redis/index.ts";
import { Followers } from "./followers.ts";

/** How many jobs one script looks at. */
const LOOK_AT_ONCE = 500;

/** Who in this process follows which jobs in Redis, and the channels that they are told by. */
export class RedisFollowing {
  readonly #hearing: RedisHearing;
  readonly #root: string;
  readonly #ended: (ids: readonly string[]) => Promise<readonly string[]>;
  readonly #followers = new Followers();
  readonly #channels = new Map<string, Promise<void>>();

  /** @param ended - which of these have ended, or are not known */
  constructor(
    hearing: RedisHearing,
    root: string,
    ended: (ids: readonly string[]) => Promise<readonly string[]>,
  ) {
    this.#hearing = hearing;
    this.#root = root;
    this.#ended = ended;
  }

  /** @throws LayerUnavailable */
  async follow(id: string, follower: JobFollower): Promise<() => void> {
    const stop = this.#followers.add(id, follower);
    const [ended, told] = [`${this.#root}#ended:${id}`, `${this.#root}#told:${id}`];
    const leave = () => {
      stop();
      if (this.#followers.has(id)) return;
      this.#close(ended);
      this.#close(told);
    };
    const opened = [this.#open(ended, () => this.#followers.tellChanged(id))];
    if (follower.progress !== undefined) {
      const hear = (text: string) =>
        text === "" ? this.#followers.tellChanged(id) : this.#followers.tellProgress(id, text);
      opened.push(this.#open(told, hear));
    }
    try {
      await Promise.all(opened);
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  /** Ends that were told while nobody listened are found by looking. @throws LayerUnavailable */
  async look(): Promise<void> {
    const ids = [...this.#followers.ids];
    for (let i = 0; i < ids.length; i += LOOK_AT_ONCE) {
      const ended = await this.#ended(ids.slice(i, i + LOOK_AT_ONCE));
      for (const id of ended) this.#followers.tellChanged(id);
    }
  }

  clear(): void {
    this.#followers.clear();
    this.#channels.clear();
  }

  #open(channel: string, hear: (text: string) => void): Promise<void> {
    const known = this.#channels.get(channel);
    if (known !== undefined) return known;
    const opened = this.#hearing.subscribe(channel, hear);
    this.#channels.set(channel, opened);
    opened.catch(() => {
      if (this.#channels.get(channel) === opened) this.#close(channel);
    });
    return opened;
  }

  #close(channel: string): void {
    if (this.#channels.delete(channel)) void this.#hearing.unsubscribe(channel);
  }
}
