import { type Clock, type ClockTimer, realClock } from "../clock.ts";
import { ConfigurationError, LayerUnavailable } from "../errors.ts";
import type { Delay } from "./memory-backplane.ts";
import { MemoryLogs } from "./memory-history.ts";
import type {
  PresenceChange,
  PresenceList,
  PresenceListener,
  PresenceStore,
  Statement,
} from "./presence-store.ts";

interface Row {
  info: string;
  /** Connections by node. */
  readonly at: Map<string, number>;
}

interface Group {
  version: number;
  readonly users: Map<string, Row>;
}

/** A node that has opened. */
export interface MemoryPresenceNode {
  readonly name: string;
  readonly listener: PresenceListener;
  readonly logs: MemoryLogs | undefined;
  readonly leaseMs: number;
}

/**
 * Where the memory presences of one process meet. With a delay, what is asked and what is answered take
 * that long each, as over a network, so that races show.
 */
export class MemoryPresenceHub {
  readonly #groups = new Map<string, Group>();
  readonly #nodes = new Set<MemoryPresenceNode>();
  /** Nodes that have closed or were lost, until what they left is removed. */
  readonly #leaving = new Map<MemoryPresenceNode, ClockTimer>();
  #version = 0;
  /** @internal */
  readonly clock: Clock;
  delayMs: Delay;

  constructor(delayMs: Delay = 0, clock: Clock = realClock) {
    this.delayMs = delayMs;
    this.clock = clock;
  }

  /** How many groups somebody is in. */
  get size(): number {
    return this.#groups.size;
  }

  /** @internal */
  enter(node: MemoryPresenceNode): void {
    if (this.#nodes.size === 0) {
      // While nobody was here nobody was judged: who was lost has a lease from now on to come back.
      for (const [other, timer] of this.#leaving) {
        this.clock.clearTimeout(timer);
        this.#removeAfter(other, other.leaseMs);
      }
    }
    this.#forgive(node);
    this.#nodes.add(node);
  }

  /** The node says nothing any more, and is gone after its lease if it does not enter again. @internal */
  lose(node: MemoryPresenceNode): void {
    if (this.#nodes.delete(node)) this.#removeAfter(node, node.leaseMs);
  }

  /** @internal */
  state(
    node: MemoryPresenceNode,
    name: string,
    user: string,
    { connections, info, isUpdate, maxUsers }: Statement,
  ): PresenceChange | "full" | undefined {
    const group = this.#groups.get(name) ?? { version: 0, users: new Map<string, Row>() };
    const row = group.users.get(user);
    if (row === undefined) {
      if (group.users.size >= maxUsers) return "full";
      this.#groups.set(name, group);
      group.users.set(user, { info, at: new Map([[node.name, connections]]) });
      return this.#changed(node, name, group, "join", user);
    }
    const isOther = isUpdate && row.info !== info;
    if (!isOther && row.at.get(node.name) === connections) return undefined;
    if (isOther) row.info = info;
    row.at.set(node.name, connections);
    return this.#changed(node, name, group, isOther ? "update" : "count", user);
  }

  /**
   * @param by - who appends it, if it is not the node itself
   * @internal
   */
  withdraw(
    node: MemoryPresenceNode,
    name: string,
    user: string,
    by: MemoryPresenceNode = node,
  ): PresenceChange | undefined {
    const group = this.#groups.get(name);
    const row = group?.users.get(user);
    if (group === undefined || !row?.at.delete(node.name)) return undefined;
    if (row.at.size > 0) return this.#changed(by, name, group, "count", user);
    const change = this.#changed(by, name, group, "leave", user);
    group.users.delete(user);
    if (group.users.size === 0) this.#groups.delete(name);
    return change;
  }

  /** @internal */
  list({ logs }: MemoryPresenceNode, name: string): PresenceList {
    const group = this.#groups.get(name);
    const top = logs?.tops([name])[0];
    if (group === undefined) return { version: this.#version, users: [], top };
    const users = [...group.users].map(([user, { info, at }]) => ({ user, info, connections: sum(at) }));
    return { version: group.version, users, top };
  }

  /** @internal */
  count(name: string): number {
    return this.#groups.get(name)?.users.size ?? 0;
  }

  /** @internal */
  leave(node: MemoryPresenceNode, holdMs: number): void {
    if (!this.#nodes.delete(node)) return;
    if (this.#nodes.size > 0 && holdMs > 0) return this.#removeAfter(node, holdMs);
    this.#remove(node);
    if (this.#nodes.size === 0) for (const other of this.#leaving.keys()) this.#remove(other);
  }

  /** @internal */
  drawDelay(): number {
    return typeof this.delayMs === "function" ? this.delayMs() : this.delayMs;
  }

  #removeAfter(node: MemoryPresenceNode, ms: number): void {
    const timer = this.clock.setTimeout(() => {
      if (this.#nodes.size > 0) this.#remove(node);
    }, ms);
    this.#leaving.set(node, timer);
  }

  #forgive(node: MemoryPresenceNode): void {
    const timer = this.#leaving.get(node);
    if (timer !== undefined) this.clock.clearTimeout(timer);
    this.#leaving.delete(node);
  }

  #remove(node: MemoryPresenceNode): void {
    this.#forgive(node);
    const [teller] = this.#nodes;
    for (const [name, { users }] of [...this.#groups]) {
      const changes = [...users.keys()].flatMap((user) => this.withdraw(node, name, user, teller) ?? []);
      if (changes.length > 0) void teller?.listener.removed(name, changes);
    }
  }

  #changed(
    { listener, logs }: MemoryPresenceNode,
    name: string,
    group: Group,
    kind: PresenceChange["kind"],
    user: string,
  ): PresenceChange {
    const before = group.version;
    this.#version += 1;
    group.version = this.#version;
    const { info, at } = group.users.get(user) as Row;
    const change = { kind, user, info, connections: sum(at), before, version: group.version };
    const log = kind === "count" ? undefined : listener.logFor(name);
    if (log === undefined || logs === undefined) return change;
    const text = `${log.header}${JSON.stringify([change])}`;
    const { isKnown: _isKnown, ...appended } = logs.append(name, text, log, "presence");
    return { ...change, appended: { ...appended, text } };
  }
}

function sum(at: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const connections of at.values()) total += connections;
  return total;
}

/** The presence of nodes that live in one process. A node alone has a hub of its own. */
export class MemoryPresence implements PresenceStore {
  readonly leaseMs: number;
  readonly #hub: MemoryPresenceHub;
  readonly #waiting = new Map<ClockTimer, () => void>();
  #node: MemoryPresenceNode | undefined;

  /** @param leaseMs - how long users of a node that stops are held */
  constructor(hub: MemoryPresenceHub = new MemoryPresenceHub(), leaseMs = 3_000) {
    this.#hub = hub;
    this.leaseMs = leaseMs;
  }

  async open(name: string, listener: PresenceListener, logs?: unknown): Promise<void> {
    if (logs !== undefined && !(logs instanceof MemoryLogs)) {
      throw new ConfigurationError([
        "groups with history and presence need both in one place, and this history is not in memory: give the option presence too, e.g. presence: new RedisPresence({ url }) beside history: new RedisHistory({ url })",
      ]);
    }
    this.#node = { name, listener, logs, leaseMs: this.leaseMs };
    this.#hub.enter(this.#node);
  }

  state(group: string, user: string, statement: Statement): Promise<PresenceChange | "full" | undefined> {
    return this.#ask((node) => this.#hub.state(node, group, user, statement));
  }

  withdraw(group: string, user: string): Promise<PresenceChange | undefined> {
    return this.#ask((node) => this.#hub.withdraw(node, group, user));
  }

  list(group: string): Promise<PresenceList> {
    return this.#ask((node) => this.#hub.list(node, group));
  }

  count(group: string): Promise<number> {
    return this.#ask(() => this.#hub.count(group));
  }

  async close(holdMs: number): Promise<void> {
    const node = this.#node;
    this.#node = undefined;
    for (const [timer, go] of this.#waiting) {
      this.#hub.clock.clearTimeout(timer);
      go();
    }
    this.#waiting.clear();
    if (node !== undefined) this.#hub.leave(node, holdMs);
  }

  /** Says nothing any more, or again; for the test kit. @internal */
  reach(isReached: boolean): void {
    if (this.#node === undefined) return;
    if (isReached) this.#hub.enter(this.#node);
    else this.#hub.lose(this.#node);
  }

  async #ask<T>(answer: (node: MemoryPresenceNode) => T): Promise<T> {
    await this.#pause();
    if (this.#node === undefined) throw new LayerUnavailable("the memory presence is closed");
    const given = answer(this.#node);
    await this.#pause();
    return given;
  }

  #pause(): Promise<void> {
    const delayMs = this.#hub.drawDelay();
    if (delayMs <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#hub.clock.setTimeout(() => {
        this.#waiting.delete(timer);
        resolve();
      }, delayMs);
      this.#waiting.set(timer, resolve);
    });
  }
}
