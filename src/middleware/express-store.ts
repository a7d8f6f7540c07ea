/** Between our stores and those of express-session. */
import type { SessionData, Store } from "express-session";
import type { ExpressSessionStore, SessionStore } from "./session-store.ts";

type Callback = (error?: unknown, session?: SessionData | null) => void;

/** Whoever says when a session ends: its cookie, or else how long it is kept. */
export function ttlOf(record: object, ttlMs: number): number {
  const { cookie } = record as { readonly cookie?: { readonly expires?: unknown } };
  const expires = cookie?.expires;
  if (expires === undefined || expires === null) return ttlMs;
  return Math.max(1, new Date(expires as string).getTime() - Date.now());
}

/** A store of ours as express-session wants one. */
export function asExpressStore(
  Base: new () => Store,
  store: SessionStore,
  ttlMs: number,
): Store & { generate(request: unknown): void } {
  class OurStore extends Base {
    get(id: string, callback: Callback): void {
      const read = async () => {
        const text = await store.read(id);
        return text === undefined ? null : (JSON.parse(text) as SessionData);
      };
      answer(read(), callback);
    }
    set(id: string, session: SessionData, callback: Callback = () => {}): void {
      answer(store.write(id, JSON.stringify(session), ttlOf(session, ttlMs)), callback);
    }
    destroy(id: string, callback: Callback = () => {}): void {
      answer(store.remove(id), callback);
    }
    override touch(id: string, session: SessionData, callback: () => void = () => {}): void {
      answer(store.extend(id, ttlOf(session, ttlMs)), callback);
    }
  }
  return new OurStore() as never;
}

/**
 * Any store of express-session as one of ours. It cannot compare and write in one step, so a session that is
 * changed or destroyed elsewhere in the very moment of a save is not noticed.
 */
export class ForeignStore implements SessionStore {
  readonly #store: Store;

  constructor(store: ExpressSessionStore) {
    this.#store = store as unknown as Store;
  }

  read(id: string): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      this.#store.get(id, (error, session) => {
        if (error && (error as NodeJS.ErrnoException).code !== "ENOENT") reject(error);
        else resolve(session ? JSON.stringify(session) : undefined);
      });
    });
  }

  write(id: string, text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const session = JSON.parse(text) as SessionData;
      this.#store.set(id, session, (error) => (error ? reject(error) : resolve()));
    });
  }

  async swap(id: string, expected: string, text: string): Promise<boolean> {
    if ((await this.read(id)) !== expected) return false;
    await this.write(id, text);
    return true;
  }

  async extend(id: string, ttlMs: number): Promise<void> {
    const text = await this.read(id);
    if (text === undefined || this.#store.touch === undefined) return;
    const session = JSON.parse(text) as SessionData;
    // By which stores know for how long.
    if (session.cookie.expires) session.cookie.expires = new Date(Date.now() + ttlMs);
    await new Promise<void>((resolve) => {
      this.#store.touch?.(id, session, () => resolve());
    });
  }

  async remove(id: string): Promise<boolean> {
    const isThere = (await this.read(id)) !== undefined;
    await new Promise<void>((resolve, reject) => {
      this.#store.destroy(id, (error) => (error ? reject(error) : resolve()));
    });
    return isThere;
  }
}

function answer<T>(promise: Promise<T>, callback: (error?: unknown, value?: never) => void): void {
  promise.then(
    (value) => callback(null, value as never),
    (error) => callback(error),
  );
}
