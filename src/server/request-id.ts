import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";

const ID = Symbol("request id");
type Named = IncomingMessage & { [ID]?: string };

/** Requests of one process are numbered; what stands before the number tells processes apart. */
const ours = randomBytes(6).toString("base64url");
let last = 0;

const PLAIN = /^[A-Za-z0-9._:+/=-]{1,100}$/;

/**
 * What a request is called in the log: what a trusted proxy calls it in `X-Request-Id`, or a name of ours. No
 * secret, and nothing to trust.
 */
export function requestId(request: IncomingMessage, trustedProxies: number): string {
  const { [ID]: known } = request as Named;
  if (known !== undefined) return known;
  const { "x-request-id": given } = request.headers;
  const isTheirs = trustedProxies > 0 && typeof given === "string" && PLAIN.test(given);
  if (!isTheirs) last += 1;
  const id = isTheirs ? given : `${ours}-${last.toString(36)}`;
  (request as Named)[ID] = id;
  return id;
}
