/** Who may come in: the one check of page, namespace and actions. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Request, Response } from "express";
import { AddressBuckets, CloseCode, deny, type Middleware, Origins, type Scope } from "../index.ts";
import type { AllowDashboard, Audit, DashboardSettings } from "./options.ts";
import { type DashboardSession, DashboardSessions } from "./sessions.ts";

export const COOKIE = "sluice_dashboard";
/** What may be tried at once before an address has to wait. */
const FREE_TRIES = 5;
const MAX_NAME = 100;

/** Somebody who may. */
export interface Visitor {
  readonly who: string;
  readonly session: DashboardSession;
}

export type LoginOutcome =
  | { readonly kind: "in"; readonly cookie: string }
  | { readonly kind: "wrong" }
  | { readonly kind: "wait"; readonly waitMs: number }
  | { readonly kind: "refused" };

export interface GuardOptions extends Pick<DashboardSettings, "path" | "sessionMs" | "triesPerMinute"> {
  readonly password?: string | undefined;
  readonly allow?: AllowDashboard;
}

export class Guard {
  readonly #options: GuardOptions;
  readonly #audit: Audit;
  readonly #sessions: DashboardSessions;
  readonly #tries: AddressBuckets;
  /** Whatever other pages the application lets connect. */
  readonly #own = new Origins([], true);
  readonly #digest: Buffer | undefined;

  constructor(options: GuardOptions, secrets: readonly string[], audit: Audit) {
    this.#options = options;
    this.#audit = audit;
    this.#sessions = new DashboardSessions(options.password, secrets, options.sessionMs);
    this.#tries = new AddressBuckets(options.triesPerMinute / 60, FREE_TRIES);
    this.#digest = options.password === undefined ? undefined : digestOf(options.password);
  }

  get hasPassword(): boolean {
    return this.#digest !== undefined;
  }

  /** Whether `allow` lets somebody in, or to the login; who it is. */
  async allowed(scope: Scope): Promise<string | undefined> {
    const { allow } = this.#options;
    if (allow === undefined) return "password";
    const answer = await allow(scope);
    if (typeof answer === "string" && answer !== "") return answer.slice(0, MAX_NAME);
    return answer === true ? "allowed" : undefined;
  }

  /** Whoever shows a session that is good, and is let in. */
  async visitorOf(scope: Scope): Promise<Visitor | undefined> {
    const session = this.#sessions.check(scope.cookies.get(COOKIE));
    if (session === undefined) return undefined;
    const who = await this.allowed(scope);
    return who === undefined ? undefined : { who, session };
  }

  /** Whether a request, or the handshake of a connection, is of a page of this server. */
  isOwn({ headers }: Pick<Scope, "headers">): boolean {
    const site = headers["sec-fetch-site"];
    if (site !== undefined && site !== "same-origin" && site !== "none") return false;
    return this.#own.allows(headers.origin, headers.host);
  }

  tokenOf(session: DashboardSession): string {
    return this.#sessions.tokenOf(session);
  }

  isToken(session: DashboardSession, token: unknown): boolean {
    return this.#sessions.isToken(session, token);
  }

  /** Of a browser that `allow` lets in, where there is no password. */
  begin(): { readonly session: DashboardSession; readonly cookie: string } {
    return this.#sessions.issue();
  }

  /** A password is tried. Whoever has tried too many is told to wait, right or wrong. */
  login(scope: Scope, who: string, password: unknown): LoginOutcome {
    const { remoteAddress } = scope;
    const audit = { action: "login", target: "", by: who, remoteAddress };
    const waitMs = this.#tries.take(remoteAddress);
    if (waitMs > 0) {
      this.#audit.announce({ ...audit, outcome: "refused", reason: "too many tries" });
      return { kind: "wait", waitMs };
    }
    const isRight =
      this.#digest !== undefined &&
      typeof password === "string" &&
      timingSafeEqual(digestOf(password), this.#digest);
    if (!isRight) {
      this.#audit.announce({ ...audit, outcome: "refused", reason: "wrong password" });
      return { kind: "wrong" };
    }
    this.#audit.announce({ ...audit, outcome: "done" });
    return { kind: "in", cookie: this.#sessions.issue().cookie };
  }

  /** A session is over, on this node; the others are told by whoever calls this. */
  end(session: DashboardSession): void {
    this.#sessions.end(session);
  }

  /** Sessions that are over before their time. */
  get ended(): readonly DashboardSession[] {
    return this.#sessions.ended;
  }

  /** Around the namespace: the same cookie, and the token of the page that it was given to. */
  readonly middleware: Middleware = async (scope, next) => {
    if (!this.isOwn(scope)) deny(CloseCode.forbidden, "the dashboard is for its own page");
    const visitor = await this.visitorOf(scope);
    if (visitor === undefined) deny(CloseCode.unauthenticated, "log in first");
    if (!this.#sessions.isToken(visitor.session, scope.auth.token)) {
      deny(CloseCode.forbidden, "load the page again");
    }
    const { connection } = scope;
    connection.key(sessionKey(visitor.session));
    const end = () => connection.close(CloseCode.unauthenticated, "the login is over");
    // Node's timers know no longer time.
    const timer = setTimeout(end, Math.min(visitor.session.endsAt - Date.now(), 2_147_483_647));
    scope.closed.addEventListener("abort", () => clearTimeout(timer), { once: true });
    return next({ state: { ...scope.state, dashboard: visitor } });
  };

  setCookie(request: Request, response: Response, cookie: string): void {
    response.cookie(COOKIE, cookie, { ...attributes(request), maxAge: this.#options.sessionMs });
  }

  clearCookie(request: Request, response: Response): void {
    response.clearCookie(COOKIE, attributes(request));
  }
}

/** By which the connections of a session are found. */
export function sessionKey({ id }: Pick<DashboardSession, "id">): string {
  return `sluice.dashboard:${id}`;
}

/** The namespace is asked for at Socket.IO's path, so the cookie is for all paths. */
function attributes(request: Request) {
  const isSecure = request.secure || request.headers.origin?.startsWith("https:") === true;
  return { httpOnly: true, sameSite: "strict", secure: isSecure, path: "/" } as const;
}

/** Of equal length whatever is tried, to be compared in equal time. */
function digestOf(password: string): Buffer {
  return createHash("sha256").update(password).digest();
}
