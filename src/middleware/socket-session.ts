/** One client's session as a connection that stays has it: without answers that could set a cookie. */
import { createHash, createHmac, randomBytes } from "node:crypto";
import { CloseCode, ConnectionDenied, MessageTooLarge, type Scope } from "../index.ts";
import { ttlOf } from "./express-store.ts";
import type { SessionStore } from "./session-store.ts";

/** What is kept in a session; declare yours. */
export type SessionValues = object;

/**
 * A session: of an HTTP request it is express-session's, of a connection that stays one that is read anew
 * before each hook and handler, and saved after it if it was changed.
 */
export interface Session<Values extends SessionValues = Record<string, unknown>> {
  readonly id: string;
  /** Read and write as you like. Of a request it is `request.session` itself. */
  readonly data: Partial<Values>;
  /** Whether the store does not have it yet. */
  readonly isNew: boolean;
  /**
   * Saves now. Values that others have changed meanwhile stay as they left them, unless this one changed the
   * same; then the last to save wins.
   *
   * @throws ConnectionDenied (4510) if it was destroyed, or its time is up: it does not come back
   */
  save(): Promise<void>;
  /** As the store has it; changes that were not saved are gone. Throws as {@link save} does. */
  reload(): Promise<void>;
  /**
   * Gives it another id, as whenever rights change; the old one is destroyed, and other connections with it
   * come back with the new one.
   *
   * @param options - `keepData`: what is in it goes along. Default false
   * @throws ConnectionDenied (4510) if somebody else has destroyed it meanwhile; called again it begins a new one
   */
  regenerate(options?: { readonly keepData?: boolean }): Promise<void>;
  /** Ends it, and all connections that have it, on every node. Their clients hear 4510. */
  destroy(): Promise<void>;
  /**
   * For a session that a connection has given a new id, which its browser does not know: text that the page
   * sends once, within a minute, to where `sessions.adopt` answers, as the header `Sluice-Session`.
   */
  ticket(): Promise<string>;
  /** What the store has now, without touching `data`; undefined if it is gone. @internal */
  stored(): Promise<Partial<Values> | undefined>;
}

export interface SessionTerms {
  readonly store: SessionStore;
  readonly ttlMs: number;
  readonly maxBytes: number;
  readonly secrets: readonly string[];
  /** Of new sessions, as express-session keeps it in the record. */
  newCookie(): object;
}

const MAX_ROUNDS = 20;
/** How often in its life a session is looked for that is not used. */
const LOOKS = 10;
const MIN_LOOK_MS = 50;
const MAX_LOOK_MS = 24 * 3_600_000;
export const SESSION_ENDED = "the session has ended";

type Record_ = { cookie?: { originalMaxAge?: number | null; expires?: unknown } } & Record<string, unknown>;

/** By which connections with that session are found; what it says is of no use to anybody else. */
export function sessionKey(id: string): string {
  return `session:${createHash("sha256").update(id).digest("base64url")}`;
}

export class SocketSession implements Session {
  readonly #terms: SessionTerms;
  readonly #scope: Scope;
  /** What the client's cookie named when it came. */
  readonly #cookieId: string;
  #id: string;
  #data: Record<string, unknown> = {};
  #cookie: Record_["cookie"];
  /** As it was read or saved last; undefined: never. */
  #text: string | undefined;
  /** Each value as JSON then, to know what was changed here. */
  #before = new Map<string, string>();
  #isGone = false;
  /** Hooks and handlers that run now. */
  running = 0;
  #extendedAt = Date.now();

  private constructor(scope: Scope, terms: SessionTerms, cookieId: string) {
    this.#scope = scope;
    this.#terms = terms;
    this.#cookieId = cookieId;
    this.#id = cookieId;
  }

  static async open(scope: Scope, terms: SessionTerms, id: string | undefined): Promise<SocketSession> {
    const session = new SocketSession(scope, terms, id ?? "");
    const text = id === undefined ? undefined : await terms.store.read(id);
    if (text !== undefined) session.#take(text);
    else session.#begin();
    scope.connection.key(sessionKey(session.#id));
    session.#watch();
    return session;
  }

  get id(): string {
    return this.#id;
  }

  get data(): Record<string, unknown> {
    return this.#data;
  }

  get isNew(): boolean {
    return this.#text === undefined;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  async save(): Promise<void> {
    const { store, ttlMs } = this.#terms;
    this.#checkThere();
    for (let round = 0; round < MAX_ROUNDS; round++) {
      this.#prolong();
      const text = this.#encoded();
      if (this.#text === undefined) {
        await store.write(this.#id, text, ttlOf({ cookie: this.#cookie }, ttlMs));
        return this.#note(text);
      }
      if (await store.swap(this.#id, this.#text, text, ttlOf({ cookie: this.#cookie }, ttlMs))) {
        return this.#note(text);
      }
      const other = await store.read(this.#id);
      if (other === undefined) return this.#gone();
      this.#merge(other);
    }
    throw new Error("the session is changed elsewhere all the time; it could not be saved");
  }

  async reload(): Promise<void> {
    this.#checkThere();
    if (this.#text === undefined) return;
    const text = await this.#terms.store.read(this.#id);
    if (text === undefined) return this.#gone();
    if (text !== this.#text || this.isChanged) this.#take(text);
  }

  async regenerate({ keepData = false }: { readonly keepData?: boolean } = {}): Promise<void> {
    const old = this.#id;
    const wasStored = this.#text !== undefined && !this.#isGone;
    const data = keepData ? this.#data : {};
    this.#begin();
    this.#data = data;
    // The new one first: whoever fails between has two, not none.
    await this.save();
    const { store } = this.#terms;
    if (wasStored && !(await store.remove(old))) {
      await store.remove(this.#id);
      this.#data = {};
      this.#gone();
    }
    this.#scope.connection.key(sessionKey(this.#id), sessionKey(old));
    if (wasStored) await this.#closeOthers(old);
  }

  async destroy(): Promise<void> {
    const id = this.#id;
    this.#isGone = true;
    this.#data = {};
    await this.#terms.store.remove(id);
    this.#scope.connection.unkey(sessionKey(id));
    try {
      await this.#closeOthers(id);
    } finally {
      if (this.running === 0) this.leaveSoon();
    }
  }

  async ticket(): Promise<string> {
    if (this.#text === undefined) await this.save();
    const body = `${this.#id}.${Date.now() + TICKET_MS}.${idDigest(this.#cookieId)}`;
    return `${body}.${ticketSignature(body, this.#terms.secrets[0] as string)}`;
  }

  async stored(): Promise<Record<string, unknown> | undefined> {
    if (this.#isGone) return undefined;
    if (this.#text === undefined) return this.#data;
    const text = await this.#terms.store.read(this.#id);
    return text === undefined ? undefined : (JSON.parse(text) as Record<string, unknown>);
  }

  /** @throws ConnectionDenied (4510) if it has been destroyed since it was read */
  async checkStored(): Promise<void> {
    if ((await this.stored()) === undefined) this.#gone();
  }

  get isChanged(): boolean {
    const now = Object.entries(this.#data).filter(([, value]) => value !== undefined);
    if (now.length !== this.#before.size) return true;
    return now.some(([name, value]) => this.#before.get(name) !== JSON.stringify(value));
  }

  /** Lets a session that is used but not changed live on; not at each hook. */
  async keepAlive(): Promise<void> {
    const { store } = this.#terms;
    const lifeMs = this.#lifeMs;
    if (this.#text === undefined || Date.now() - this.#extendedAt < lifeMs / 10) return;
    this.#extendedAt = Date.now();
    await store.extend(this.#id, lifeMs);
  }

  /** When the answer of whatever runs has gone out. */
  leaveSoon(): void {
    setImmediate(() => this.#scope.connection.close(CloseCode.expired, SESSION_ENDED));
  }

  /** Nobody tells that its time is up; and who only listens would never ask. */
  #watch(): void {
    const { closed } = this.#scope;
    if (closed.aborted) return;
    const everyMs = Math.min(Math.max(this.#lifeMs / LOOKS, MIN_LOOK_MS), MAX_LOOK_MS);
    const timer = setInterval(() => void this.#look().catch(() => {}), everyMs);
    closed.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  async #look(): Promise<void> {
    const id = this.#id;
    if (this.#text === undefined || this.#isGone) return;
    const text = await this.#terms.store.read(id);
    // What runs finds out by itself when it saves, and then its client is told.
    if (text !== undefined || id !== this.#id || this.running > 0 || this.#isGone) return;
    this.#isGone = true;
    this.#scope.connection.close(CloseCode.expired, SESSION_ENDED);
  }

  get #lifeMs(): number {
    return this.#cookie?.originalMaxAge ?? this.#terms.ttlMs;
  }

  async #closeOthers(id: string): Promise<void> {
    await this.#scope.connection.closeKeyed(sessionKey(id), CloseCode.expired, SESSION_ENDED);
  }

  #begin(): void {
    this.#id = randomBytes(24).toString("base64url");
    this.#cookie = this.#terms.newCookie();
    this.#text = undefined;
    this.#isGone = false;
    this.#before = new Map();
    this.#data = {};
  }

  #checkThere(): void {
    if (this.#isGone) throw new ConnectionDenied(CloseCode.expired, SESSION_ENDED);
  }

  #gone(): never {
    this.#isGone = true;
    throw new ConnectionDenied(CloseCode.expired, SESSION_ENDED);
  }

  #take(text: string): void {
    const { cookie, ...data } = JSON.parse(text) as Record_;
    this.#cookie = cookie;
    this.#data = data;
    this.#note(text);
  }

  #note(text: string): void {
    this.#text = text;
    const { cookie: _, ...data } = JSON.parse(text) as Record_;
    this.#before = new Map(Object.entries(data).map(([name, value]) => [name, JSON.stringify(value)]));
  }

  /** What others wrote, with what was changed here put into it. */
  #merge(text: string): void {
    const { cookie: _, ...theirs } = JSON.parse(text) as Record_;
    const names = new Set([...Object.keys(this.#data), ...this.#before.keys()]);
    const merged = { ...theirs };
    for (const name of names) {
      const now = JSON.stringify(this.#data[name]);
      if (now === this.#before.get(name)) continue;
      if (now === undefined) delete merged[name];
      else merged[name] = this.#data[name];
    }
    this.#take(text);
    this.#data = merged;
  }

  #prolong(): void {
    const lifeMs = this.#cookie?.originalMaxAge;
    if (typeof lifeMs === "number") {
      this.#cookie = { ...this.#cookie, expires: new Date(Date.now() + lifeMs).toISOString() };
    }
  }

  #encoded(): string {
    const { maxBytes } = this.#terms;
    const text = JSON.stringify({ ...this.#data, cookie: this.#cookie });
    if (Buffer.byteLength(text) <= maxBytes) return text;
    throw new MessageTooLarge(`a session has at most ${maxBytes} bytes as JSON`);
  }
}

const TICKET_MS = 60_000;

export function idDigest(id: string): string {
  return createHash("sha256").update(`sluice ${id}`).digest("base64url").slice(0, 22);
}

/** Signed for this purpose alone: no cookie is a ticket. */
export function ticketSignature(body: string, secret: string): string {
  return createHmac("sha256", secret).update(`sluice.session.ticket ${body}`).digest("base64url");
}
