/** What a server needs to be one of several processes behind a port that another process holds. */
import type { Server as HttpServer, ServerResponse } from "node:http";
import type { Server as HttpsServer } from "node:https";
import { randomId } from "../random-id.ts";

/** A session of the polling transport is many requests, and only the process that opened it knows it. */
export function newSessionId(process: number): () => string {
  return () => `p${process}-${randomId(15)}`;
}

/** The process that a request's session lives in, by the request's first line; undefined for newcomers. */
export function processOf(requestLine: string): number | undefined {
  const [, number] = /[?&]sid=p(\d{1,15})-/.exec(requestLine) ?? [];
  return number === undefined ? undefined : Number(number);
}

/**
 * Makes an HTTP server that binds no port end slow requests and idle connections, as one that does; Node
 * begins to look after connections on "listening". And a connection is for one request: the next one on it
 * may belong to another process.
 */
export function checkConnectionsOf(http: HttpServer | HttpsServer): void {
  http.prependListener("request", (_request, response: ServerResponse) => {
    response.setHeader("Connection", "close");
  });
  http.emit("listening");
}
