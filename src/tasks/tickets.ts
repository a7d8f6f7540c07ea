/** Tickets: who shows one may watch a run. Signed, so that any node can check one without asking anybody. */
import { createHmac, hkdfSync } from "node:crypto";
import { InvalidMessage, isSameSignature, usableSecrets } from "../index.ts";
import { TicketRefused } from "./errors.ts";

/** Who may watch a run by a ticket, and for how long. */
export interface TicketOptions {
  /** Only for this user (see the application's `userId`); left out: for whoever has it. */
  readonly user?: string;
  /** Default one hour. */
  readonly ttlMs?: number;
}

export interface Ticket {
  readonly id: string;
  readonly user: string | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

const MAX_TICKET = 1_000;
const HOUR_MS = 3_600_000;
const SHAPE = /^t1\.([A-Za-z0-9_-]{8})\.([A-Za-z0-9_-]{1,800})\.([A-Za-z0-9_-]{43})$/;

interface Key {
  /** Which of several secrets signed; says nothing of it. */
  readonly id: string;
  readonly key: Buffer;
}

/**
 * `t1.<key id>.<what is said, as base64url of JSON>.<signature>`: HMAC-SHA256 (RFC 2104) by a key derived
 * from the secret (HKDF, RFC 5869).
 */
export class Tickets {
  readonly #keys: readonly Key[];

  /**
   * @param secrets - the first signs, all are believed; without any, tickets are good for this process alone
   * @throws ConfigurationError for one that is too short
   */
  constructor(secrets: readonly string[]) {
    this.#keys = usableSecrets(secrets).map(keyOf);
  }

  /** @throws InvalidMessage for a wrong time or user */
  issue(id: string, { user, ttlMs = HOUR_MS }: TicketOptions, now: number): string {
    if (!(ttlMs > 0 && Number.isFinite(ttlMs))) {
      throw new InvalidMessage(`a ticket's ttlMs must be above 0, not ${String(ttlMs)}`);
    }
    if (user !== undefined && (typeof user !== "string" || user === "" || Buffer.byteLength(user) > 256)) {
      throw new InvalidMessage("a ticket's user is text of 1 to 256 bytes");
    }
    const said = Buffer.from(JSON.stringify([id, Math.ceil(now + ttlMs), user ?? null])).toString(
      "base64url",
    );
    const key = this.#keys[0] as Key;
    const head = `t1.${key.id}.${said}`;
    return `${head}.${sign(key, head)}`;
  }

  /**
   * @param user - who shows it
   * @throws TicketRefused for one that is not genuine, of another user, or over
   */
  check(ticket: unknown, user: string | undefined, now: number): Ticket {
    const [, keyId, said = "", signature = ""] =
      typeof ticket === "string" && ticket.length <= MAX_TICKET ? (SHAPE.exec(ticket) ?? []) : [];
    const key = this.#keys.find(({ id }) => id === keyId);
    if (key === undefined || !isSameSignature(signature, sign(key, `t1.${key.id}.${said}`))) {
      throw new TicketRefused("this is no ticket of ours");
    }
    // It is ours, so it is what we made it.
    const [id, expiresAt, owner] = JSON.parse(Buffer.from(said, "base64url").toString()) as [
      string,
      number,
      string | null,
    ];
    if (now >= expiresAt) throw new TicketRefused("the ticket's time is over; ask for another");
    if (owner !== null && owner !== user) throw new TicketRefused("the ticket is somebody else's");
    return { id, user: owner ?? undefined, expiresAt };
  }
}

function keyOf(secret: string): Key {
  const derived = Buffer.from(hkdfSync("sha256", secret, "", "sluice tasks tickets v1", 38));
  return { id: derived.subarray(32).toString("base64url"), key: derived.subarray(0, 32) };
}

function sign({ key }: Key, text: string): string {
  return createHmac("sha256", key).update(text).digest("base64url");
}
