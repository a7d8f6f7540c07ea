/**
 * The sessions of those who are logged in to the dashboard: signed cookies, which any node can check without
 * asking. What no cookie can say, that somebody has logged out, nodes tell each other.
 */
import { createHmac, randomBytes, scryptSync } from "node:crypto";
import { isSameSignature, usableSecrets } from "../index.ts";

/** One login of one browser. */
export interface DashboardSession {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly endsAt: number;
}

/** Those who have logged out before their time are remembered until it. */
const MAX_ENDED = 10_000;
const MAX_COOKIE = 200;
const COOKIE = /^(\d{13})\.([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})$/;

export class DashboardSessions {
  readonly #keys: readonly Buffer[];
  readonly #ttlMs: number;
  readonly #ended = new Map<string, number>();

  /**
   * @param password - another one ends all sessions
   * @param secrets - the application's; the first signs, all are believed; without any the password alone
   * makes the key, the same on all nodes
   */
  constructor(password: string | undefined, secrets: readonly string[], ttlMs: number) {
    this.#ttlMs = ttlMs;
    const own = password === undefined && secrets.length === 0 ? usableSecrets([]) : secrets;
    // Slow on purpose: a cookie must not be a way to try passwords.
    const stretched = scryptSync(password ?? "", "sluice dashboard", 32);
    this.#keys = (own.length === 0 ? [""] : own).map((secret) =>
      createHmac("sha256", stretched).update(`sluice dashboard sessions\n${secret}`).digest(),
    );
  }

  /** A new one, as its cookie says it. */
  issue(now = Date.now()): { readonly session: DashboardSession; readonly cookie: string } {
    const session = { id: randomBytes(16).toString("base64url"), endsAt: now + this.#ttlMs };
    return { session, cookie: this.#signed(this.#keys[0] as Buffer, session) };
  }

  /** The session that a cookie is for; undefined if it is not genuine, or over. */
  check(cookie: string | undefined, now = Date.now()): DashboardSession | undefined {
    if (cookie === undefined || cookie.length > MAX_COOKIE) return undefined;
    const [, endsAt, id] = COOKIE.exec(cookie) ?? [];
    if (endsAt === undefined || id === undefined) return undefined;
    const session = { id, endsAt: Number(endsAt) };
    const isGenuine = this.#keys
      .map((key) => isSameSignature(cookie, this.#signed(key, session)))
      .includes(true);
    return isGenuine && session.endsAt > now && !this.#ended.has(id) ? session : undefined;
  }

  /** What a page of this session shows to prove that it is one, and not a page of somebody else. */
  tokenOf({ id }: DashboardSession): string {
    return mac(this.#keys[0] as Buffer, `token\n${id}`);
  }

  isToken(session: DashboardSession, token: unknown): boolean {
    if (typeof token !== "string" || token.length > MAX_COOKIE) return false;
    return this.#keys.some((key) => isSameSignature(token, mac(key, `token\n${session.id}`)));
  }

  /** Not valid from now on. */
  end({ id, endsAt }: DashboardSession, now = Date.now()): void {
    // Another node's clock may be ahead of ours, so it may well end later than one that begins here now.
    if (!(endsAt > now) || this.#ended.has(id)) return;
    // They are over in about the order in which they were told: two go for one that comes, so that none stays long.
    let gone = 0;
    for (const [oldest, until] of this.#ended) {
      if (gone === 2 || (until > now && this.#ended.size < MAX_ENDED)) break;
      this.#ended.delete(oldest);
      gone += 1;
    }
    this.#ended.set(id, endsAt);
  }

  /** Those that were ended and that their cookies do not know of. */
  get ended(): readonly DashboardSession[] {
    const now = Date.now();
    return [...this.#ended].flatMap(([id, endsAt]) => (endsAt > now ? [{ id, endsAt }] : []));
  }

  #signed(key: Buffer, { id, endsAt }: DashboardSession): string {
    return `${endsAt}.${id}.${mac(key, `session\n${endsAt}\n${id}`)}`;
  }
}

function mac(key: Buffer, text: string): string {
  return createHmac("sha256", key).update(text).digest("base64url");
}
