import { ClientError, statusOf, verdictOf } from "../index.ts";

type Headers = Readonly<Record<string, string>>;

interface RefusedOptions {
  readonly headers?: Headers;
  readonly details?: unknown;
}

/** A refusal with a status of its own. */
export class Refused extends ClientError {
  readonly status: number;
  readonly code: string;
  readonly headers: Headers;
  override readonly details: unknown;

  constructor(status: number, code: string, message: string, { headers = {}, details }: RefusedOptions = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
    this.details = details;
  }
}

/** Too much for now; after `waitMs` it may be tried again. */
export function tooMuch(message: string, waitMs: number): Refused {
  return new Refused(429, "rate_limited", message, { headers: retryAfter(waitMs) });
}

/** Seconds, as the header wants them: whole, and at least one. */
export function retryAfter(waitMs: number): Headers {
  return { "Retry-After": String(Math.max(1, Math.ceil(waitMs / 1000))) };
}

/** How an error is told over HTTP. */
export interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly error: { readonly code: string; readonly message: string; readonly details?: unknown };
}

const UNAVAILABLE_MS = 2_000;

/** What a client may not read becomes "internal error". */
export function told(error: unknown): Told {
  const { closeCode, ...report } = verdictOf(error);
  if (error instanceof Refused) return { status: error.status, headers: error.headers, error: report };
  const status = statusOf(closeCode);
  const isLater = status === 429 || status === 503;
  return { status, headers: isLater ? retryAfter(UNAVAILABLE_MS) : {}, error: report };
}
