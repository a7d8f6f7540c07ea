/** What is known of a connection. What most applications never look at is made when somebody looks. */
import { parse as parseCookie } from "cookie";
import { randomId } from "./random-id.ts";
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

/**
 * A scope as middleware and consumers have it: frozen, so that nobody further in changes what those further out
 * hold. All of it are properties of its own, for those who spread it.
 */
export class ConnectionScope implements Scope {
  readonly id: string;
  readonly protocol: Scope["protocol"];
  readonly namespace: string;
  readonly path: string;
  readonly params: Scope["params"];
  declare readonly query: URLSearchParams;
  readonly headers: Scope["headers"];
  declare readonly cookies: Scope["cookies"];
  readonly session: unknown;
  readonly user: unknown;
  readonly auth: Scope["auth"];
  readonly remoteAddress: string;
  readonly requestId: string | undefined;
  declare readonly closed: AbortSignal;
  readonly state: Scope["state"];
  declare readonly connection: ScopeConnection;
  readonly #source: ScopeSource;

  constructor(source: ScopeSource, session?: unknown, user?: unknown, state = NOTHING) {
    const { handshake } = source;
    this.#source = source;
    this.id = source.id;
    this.protocol = handshake.protocol;
    this.namespace = handshake.namespace;
    this.path = handshake.path;
    this.params = source.params;
    this.headers = handshake.headers;
    this.session = session;
    this.user = user;
    this.auth = source.auth;
    this.remoteAddress = handshake.remoteAddress;
    this.requestId = handshake.requestId;
    this.state = state;
    // One by one: `Object.defineProperties` takes three times as long.
    for (const [name, property] of ConnectionScope.#late) Object.defineProperty(this, name, property);
    Object.freeze(this);
  }

  /** The same functions for all scopes, so that they cost none of them anything. */
  static readonly #late = Object.entries({
    query: late((scope) => scope.#source.handshake.query),
    cookies: late((scope) => scope.#source.cookies),
    closed: late((scope) => scope.#source.closed),
    connection: late((scope) => scope.#source.connection),
  });

  /** A copy with these changes. */
  with(changes: ScopeChanges = {}): ConnectionScope {
    const session = "session" in changes ? changes.session : this.session;
    // Also to undefined: who logs out is nobody.
    const user = "user" in changes ? changes.user : this.user;
    const state =
      changes.state === undefined ? this.state : Object.freeze({ ...this.state, ...changes.state });
    return new ConnectionScope(this.#source, session, user, state);
  }
}

function late(get: (scope: ConnectionScope) => unknown): PropertyDescriptor {
  return {
    enumerable: true,
    get(this: ConnectionScope) {
      return get(this);
    },
  };
}

function cookiesOf(header: string | undefined): Scope["cookies"] {
  const parsed = Object.entries(header === undefined ? {} : parseCookie(header));
  return new Map(parsed.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}
