import type { Seal } from "../sealing.ts";
import type {
  PresenceChange,
  PresenceList,
  PresenceListener,
  PresenceStore,
  Statement,
} from "./presence-store.ts";
import { openedInfo, openedTold, sealedHeader, sealedInfo } from "./sealed-history.ts";

/**
 * A presence store that sees no infos: each is sealed for its group and user, the same info always alike, so
 * that the store can tell an update. Who is where, and how often, is in the open.
 */
export class SealedPresence implements PresenceStore {
  readonly #inner: PresenceStore;
  readonly #seal: Seal;

  constructor(inner: PresenceStore, seal: Seal) {
    this.#inner = inner;
    this.#seal = seal;
  }

  get leaseMs(): number {
    return this.#inner.leaseMs;
  }

  open(node: string, listener: PresenceListener, logs?: unknown): Promise<void> {
    const own: PresenceListener = {
      logFor: (group) => {
        const log = listener.logFor(group);
        return log && { ...log, header: sealedHeader(this.#seal, group, log.header) };
      },
      down: () => listener.down(),
      restate: (quietMs) => listener.restate(quietMs),
      removed: (group, changes) =>
        listener.removed(
          group,
          changes.map((change) => this.#opened(group, change)),
        ),
    };
    return this.#inner.open(node, own, logs);
  }

  async state(
    group: string,
    user: string,
    statement: Statement,
  ): Promise<PresenceChange | "full" | undefined> {
    const info = sealedInfo(this.#seal, group, user, statement.info);
    const change = await this.#inner.state(group, user, { ...statement, info });
    return typeof change === "object" ? this.#opened(group, change) : change;
  }

  async withdraw(group: string, user: string): Promise<PresenceChange | undefined> {
    const change = await this.#inner.withdraw(group, user);
    return change && this.#opened(group, change);
  }

  async list(group: string, isAgain?: boolean): Promise<PresenceList> {
    const list = await this.#inner.list(group, isAgain);
    const users = list.users.map((user) => ({ ...user, info: this.#info(group, user.user, user.info) }));
    return { ...list, users };
  }

  count(group: string): Promise<number> {
    return this.#inner.count(group);
  }

  close(holdMs: number): Promise<void> {
    return this.#inner.close(holdMs);
  }

  #opened(group: string, change: PresenceChange): PresenceChange {
    const info = this.#info(group, change.user, change.info);
    const { appended } = change;
    if (appended === undefined) return { ...change, info };
    const text = openedTold(this.#seal, group, appended.text) ?? "";
    return { ...change, info, appended: { ...appended, text } };
  }

  #info(group: string, user: string, info: string): string {
    return openedInfo(this.#seal, group, user, info);
  }
}
