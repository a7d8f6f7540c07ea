import {
  comesBack,
  type Presence,
  presence,
  type StockSocket,
  type TaskStatus,
  watchTask,
} from "../client/index.ts";
import type { Connection, Here } from "./types.ts";

/** Lists of groups that no component shows; those that were told of first are forgotten. */
const MAX_UNSEEN_GROUPS = 100;

export const UNKNOWN: Connection = Object.freeze({ state: "connecting" });
export const NOBODY: Here<never> = Object.freeze({ users: new Map<string, never>(), isCurrent: false });

export type Listener = (...args: readonly never[]) => void;
/** Ends what was begun; a second call does nothing. */
export type End = () => void;

/** The documented part of a socket that this needs. */
interface Socket extends StockSocket {
  on(event: string, listener: Listener): unknown;
  off(event: string, listener: Listener): unknown;
  onAny(listener: (event: string, payload: unknown) => void): unknown;
  offAny(listener: (event: string, payload: unknown) => void): unknown;
}

interface Group {
  readonly presence: Presence<unknown>;
  readonly watchers: Set<() => void>;
  /** Undefined: made anew when somebody looks. */
  here: Here | undefined;
}

interface Run {
  readonly watchers: Set<() => void>;
  readonly status: TaskStatus | undefined;
  stop(): void;
}

/**
 * What components share of one socket: a listener for each event, a list for each group, a watch for each run,
 * however many want it. It hears the socket while anybody wants anything, and leaves it as it was.
 */
export class SharedSocket {
  readonly #socket: Socket;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #groups = new Map<string, Group>();
  readonly #runs = new Map<string, Run>();
  readonly #connectionWatchers = new Set<() => void>();
  #connection = UNKNOWN;
  #refusal: Pick<Connection, "code" | "reason"> = {};
  #wasOpen = false;
  #holders = 0;
  #leave: End = () => {};

  constructor(socket: StockSocket) {
    this.#socket = socket as Socket;
  }

  /** Hears the socket until all that hold it have let go. */
  hold(): End {
    this.#holders += 1;
    if (this.#holders === 1) this.#leave = this.#attach();
    return once(() => {
      this.#holders -= 1;
      if (this.#holders === 0) this.#leave();
    });
  }

  get connection(): Connection {
    const state = this.#state();
    const { code, reason } = state === "connected" ? {} : this.#refusal;
    const before = this.#connection;
    if (state !== before.state || code !== before.code || reason !== before.reason) {
      this.#connection = Object.freeze({
        state,
        ...(code !== undefined && { code }),
        ...(reason !== undefined && { reason }),
      });
    }
    return this.#connection;
  }

  readonly watchConnection = (changed: () => void): End => {
    const letGo = this.hold();
    this.#connectionWatchers.add(changed);
    return once(() => {
      this.#connectionWatchers.delete(changed);
      letGo();
    });
  };

  /** What a listener throws is reported as uncaught; the others hear the event all the same. */
  listen(event: string, listener: Listener): End {
    const letGo = this.hold();
    let listeners = this.#listeners.get(event);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(event, listeners);
      this.#socket.on(event, this.#telling(listeners));
    }
    listeners.add(listener);
    return once(() => {
      listeners.delete(listener);
      if (listeners.size === 0) {
        this.#listeners.delete(event);
        this.#socket.off(event, this.#telling(listeners));
      }
      letGo();
    });
  }

  here(group: string): Here {
    const known = this.#groups.get(group);
    if (known === undefined) return NOBODY;
    const { users, isCurrent } = known.presence;
    known.here ??= Object.freeze({ users: new Map(users), isCurrent });
    return known.here;
  }

  watchGroup(name: string, changed: () => void): End {
    const letGo = this.hold();
    const group = this.#group(name);
    group.watchers.add(changed);
    return once(() => {
      group.watchers.delete(changed);
      letGo();
    });
  }

  status(ticket: string): TaskStatus | undefined {
    return this.#runs.get(ticket)?.status;
  }

  /** @throws TypeError if this is no ticket */
  watchRun(ticket: string, changed: () => void): End {
    const run = this.#runs.get(ticket) ?? this.#run(ticket);
    const letGo = this.hold();
    run.watchers.add(changed);
    return once(() => {
      run.watchers.delete(changed);
      if (run.watchers.size === 0) {
        this.#runs.delete(ticket);
        run.stop();
      }
      letGo();
    });
  }

  #attach(): End {
    const socket = this.#socket;
    const closing = (payload: unknown) => {
      this.#refusal = refusalIn(payload);
    };
    const heard: Readonly<Record<string, Listener>> = {
      connect: () => this.#changed(),
      disconnect: () => this.#changed(),
      connect_error: (error: { readonly data?: unknown } | undefined) => {
        // Without data nobody has refused: it was not reached.
        if (error?.data !== undefined) this.#refusal = refusalIn(error.data);
        this.#changed();
      },
      "sluice.close": closing,
    };
    // What hears any event hears it before those of that name: a list that is made here takes it in.
    const any = (event: string, payload: unknown) => {
      if (event !== "sluice.presence") return;
      const { group } = (payload ?? {}) as { readonly group?: unknown };
      if (typeof group === "string") this.#group(group);
    };
    for (const [event, listener] of Object.entries(heard)) socket.on(event, listener);
    socket.onAny(any);
    this.#wasOpen = socket.connected;
    return () => {
      for (const [event, listener] of Object.entries(heard)) socket.off(event, listener);
      socket.offAny(any);
      for (const { presence } of this.#groups.values()) presence.stop();
      this.#groups.clear();
      this.#refusal = {};
    };
  }

  #state(): Connection["state"] {
    if (this.#socket.connected) return "connected";
    if (!comesBack(this.#socket)) return "closed";
    return this.#wasOpen ? "reconnecting" : "connecting";
  }

  #changed(): void {
    if (this.#socket.connected) {
      this.#wasOpen = true;
      this.#refusal = {};
    }
    for (const changed of [...this.#connectionWatchers]) changed();
  }

  #telling(listeners: Set<Listener> & { tell?: Listener }): Listener {
    listeners.tell ??= (...args) => {
      for (const listener of [...listeners]) {
        try {
          listener(...args);
        } catch (error) {
          queueMicrotask(() => {
            throw error;
          });
        }
      }
    };
    return listeners.tell;
  }

  #group(name: string): Group {
    const known = this.#groups.get(name);
    if (known !== undefined) return known;
    const list = presence(this.#socket, name);
    const group: Group = { presence: list, watchers: new Set(), here: NOBODY };
    list.on("change", () => {
      group.here = undefined;
      for (const changed of [...group.watchers]) changed();
    });
    this.#groups.set(name, group);
    this.#forgetUnseen(group);
    return group;
  }

  #forgetUnseen(newest: Group): void {
    const unseen = [...this.#groups].filter(([, group]) => group !== newest && group.watchers.size === 0);
    if (unseen.length < MAX_UNSEEN_GROUPS) return;
    const [[name, group]] = unseen as [[string, Group]];
    group.presence.stop();
    this.#groups.delete(name);
  }

  #run(ticket: string): Run {
    const watch = watchTask(this.#socket, ticket);
    const watchers = new Set<() => void>();
    const changed = () => {
      for (const watcher of [...watchers]) watcher();
    };
    for (const event of ["progress", "done", "failed"] as const) watch.on(event, changed);
    const run: Run = {
      watchers,
      get status() {
        return watch.status;
      },
      stop: () => watch.stop(),
    };
    this.#runs.set(ticket, run);
    return run;
  }
}

const shared = new WeakMap<StockSocket, SharedSocket>();

/** The same for the same socket. */
export function sharedSocket(socket: StockSocket): SharedSocket {
  const known = shared.get(socket) ?? new SharedSocket(socket);
  shared.set(socket, known);
  return known;
}

function refusalIn(value: unknown): Pick<Connection, "code" | "reason"> {
  const { code, reason } = (value ?? {}) as { readonly code?: unknown; readonly reason?: unknown };
  return {
    ...(typeof code === "number" && { code }),
    ...(typeof reason === "string" && { reason }),
  };
}

function once(end: End): End {
  let hasEnded = false;
  return () => {
    if (hasEnded) return;
    hasEnded = true;
    end();
  };
}
