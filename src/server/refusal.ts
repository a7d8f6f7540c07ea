/** How a node that is leaving refuses a newcomer: so that a balancer takes it to another node at once. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { STOPPING } from "../reasons.ts";

type Next = (error?: unknown) => void;

/**
 * A middleware of Engine.IO, which itself would say 403 to a poll and 400 to a WebSocket: answers after
 * which no balancer tries another node. Who has a session already goes on.
 */
export function refuseWhen(isLeaving: () => boolean) {
  return (request: IncomingMessage, response: ServerResponse, next: Next): void => {
    if (!isLeaving() || hasSession(request)) return next();
    const body = JSON.stringify({ code: 503, message: STOPPING.message });
    const headers = { Connection: "close", "Content-Type": "application/json", "Retry-After": "1" };
    if (request.headers.upgrade === undefined) {
      response.writeHead(503, headers);
      response.end(body);
      return;
    }
    const lines = Object.entries({ ...headers, "Content-Length": Buffer.byteLength(body) });
    const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    request.socket.on("error", () => {});
    request.socket.write(`HTTP/1.1 503 Service Unavailable\r\n${head}\r\n${body}`);
    request.socket.destroySoon();
  };
}

function hasSession({ url = "" }: IncomingMessage): boolean {
  return new URLSearchParams(url.split("?")[1]).has("sid");
}
