/** What is known of a connection. What most applications never look at is made when somebody looks. */
import { randomFillSync } from "node:crypto";
import { type InspectOptions, inspect } from "node:util";
import { parse as parseCookie } from "cookie";
import type { Handshake, Scope, ScopeChanges, ScopeConnection } from "./types.ts";

const NOTHING: Scope["state"] = Object.freeze({});

/** Who has the connection, and shows it to middleware. */
export interface ScopeOwner {
  readonly face: ScopeConnection;
}

/** What all scopes of one connection have in common. */
export class ScopeSource {
  readonly id = randomId(15);
  readonly handshake: Handshake;
  readonly auth: Scope["auth"];
  readonly params: Scope["params"];
  readonly #owner: ScopeOwner;
  #cookies: Scope["cookies"] | undefined;
  #closed: AbortController | undefined;
  #end: { readonly reason: unknown } | undefined;

  constructor(handshake: Handshake, auth: Scope["auth"], params: object, owner: ScopeOwner) {
    this.handshake = handshake;
    this.auth = auth;
    this.params = params as Scope["params"];
    this.#owner = owner;
  }

  get connection(): ScopeConnection {
    return this.#owner.face;
  }

  get cookies(): Scope["cookies"] {
    this.#cookies ??= cookiesOf(this.handshake.headers.cookie);
    return this.#cookies;
  }

  get closed(): AbortSignal {
    if (this.#closed === undefined) {
      this.#closed = new AbortController();
      if (this.#end !== undefined) this.#closed.abort(this.#end.reason);
    }
    return this.#closed.signal;
  }

  /** The connection ends. */
  end(reason: unknown): void {
    this.#end ??= { reason };
    this.#closed?.abort(reason);
  }
}

/** A scope as middleware and consumers have it: frozen, so that nobody further in changes what those further out hold. */
export class ConnectionScope implements Scope {
  readonly session: unknown;
  readonly user: unknown;
  readonly state: Scope["state"];
  readonly #source: ScopeSource;

  constructor(source: ScopeSource, session?: unknown, user?: unknown, state = NOTHING) {
    this.#source = source;
    this.session = session;
    this.user = user;
    this.state = state;
    Object.freeze(this);
  }

  /** A copy with these changes. */
  with(changes: ScopeChanges = {}): ConnectionScope {
    const session = "session" in changes ? changes.session : this.session;
    // Also to undefined: who logs out is nobody.
    const user = "user" in changes ? changes.user : this.user;
    const state =
      changes.state === undefined ? this.state : Object.freeze({ ...this.state, ...changes.state });
    return new ConnectionScope(this.#source, session, user, state);
  }

  get id(): string {
    return this.#source.id;
  }

  get protocol(): Scope["protocol"] {
    return this.#source.handshake.protocol;
  }

  get namespace(): string {
    return this.#source.handshake.namespace;
  }

  get path(): string {
    return this.#source.handshake.path;
  }

  get params(): Scope["params"] {
    return this.#source.params;
  }

  get query(): URLSearchParams {
    return this.#source.handshake.query;
  }

  get headers(): Scope["headers"] {
    return this.#source.handshake.headers;
  }

  get cookies(): Scope["cookies"] {
    return this.#source.cookies;
  }

  get auth(): Scope["auth"] {
    return this.#source.auth;
  }

  get remoteAddress(): string {
    return this.#source.handshake.remoteAddress;
  }

  get requestId(): string | undefined {
    return this.#source.handshake.requestId;
  }

  get closed(): AbortSignal {
    return this.#source.closed;
  }

  get connection(): ScopeConnection {
    return this.#source.connection;
  }

  /** As `console.log` shows it: without headers, cookies and auth, which may hold secrets. */
  [inspect.custom](_depth: number, options: InspectOptions): string {
    const { id, protocol, namespace, params, remoteAddress, user, session, state } = this;
    const shown = { id, protocol, namespace, params, remoteAddress, user, session, state };
    return `Scope ${inspect(shown, options)}`;
  }
}

/** Asking the system costs more than all the rest of an id; so it is asked for many at once. */
const pool = Buffer.alloc(4_096);
let used = pool.length;

/** Text that names rules accept and nobody can guess. */
export function randomId(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const id = pool.toString("base64url", used, used + bytes);
  pool.fill(0, used, used + bytes);
  used += bytes;
  return id;
}

function cookiesOf(header: string | undefined): Scope["cookies"] {
  const parsed = Object.entries(header === undefined ? {} : parseCookie(header));
  return new Map(parsed.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}
