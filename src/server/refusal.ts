/** How newcomers are refused before they cost anything. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { STOPPING } from "../reasons.ts";
import { queryOf } from "./engine-internals.ts";

type Next = (error?: unknown) => void;
type Middleware = (request: IncomingMessage, response: ServerResponse, next: Next) => void;

/**
 * A middleware of Engine.IO, which itself would say 403 to a poll and 400 to a WebSocket: answers after
 * which no balancer tries another node. Who has a session already goes on.
 */
export const refuseNewcomers: Middleware = (request, response, next) => {
  if (hasSession(request)) next();
  else refuse(request, response, 503, STOPPING.message);
};

/** The same with 429, for those whom `refusal` gives a reason. */
export function refuseTooMany(
  refusal: (request: IncomingMessage) => Promise<string | undefined>,
): Middleware {
  return (request, response, next) => {
    if (hasSession(request)) return next();
    void refusal(request).then((reason) => {
      // Gone while it waited.
      if (request.socket.destroyed) return;
      if (reason === undefined) next();
      else refuse(request, response, 429, reason);
    });
  };
}

const WORDS = { 429: "Too Many Requests", 503: "Service Unavailable" } as const;

function refuse(request: IncomingMessage, response: ServerResponse, code: 429 | 503, message: string): void {
  const body = JSON.stringify({ code, message });
  const headers = { Connection: "close", "Content-Type": "application/json", "Retry-After": "1" };
  if (request.headers.upgrade === undefined) {
    response.writeHead(code, headers);
    response.end(body);
    return;
  }
  const lines = Object.entries({ ...headers, "Content-Length": Buffer.byteLength(body) });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  request.socket.on("error", () => {});
  request.socket.write(`HTTP/1.1 ${code} ${WORDS[code]}\r\n${head}\r\n${body}`);
  request.socket.destroySoon();
}

function hasSession(request: IncomingMessage): boolean {
  return Boolean(queryOf(request).sid);
}
