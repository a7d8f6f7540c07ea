/** What a request says about its client, in the form that the application takes. */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { reportedAddress } from "../address-key.ts";
import type { Handshake, Protocol } from "../types.ts";
import { requestId } from "./request-id.ts";

export function handshakeOf(
  request: IncomingMessage,
  protocol: Protocol,
  namespace: string | undefined,
  auth: Handshake["auth"],
  trustedProxies: number,
): Handshake {
  const address = clientAddress(request, trustedProxies);
  return new RequestHandshake(new RequestLine(request, trustedProxies), protocol, namespace, auth, address);
}

/** What stays of a request whose connection stays. */
export class RequestLine {
  readonly headers: IncomingHttpHeaders;
  readonly requestId: string;
  readonly #url: string;

  constructor(request: IncomingMessage, trustedProxies: number) {
    this.#url = request.url ?? "/";
    this.headers = request.headers;
    this.requestId = requestId(request, trustedProxies);
  }

  // Not `new URL(url, base)`: "//host/x" would be taken for another host.
  get path(): string {
    const ends = this.#url.indexOf("?");
    return ends === -1 ? this.#url : this.#url.slice(0, ends);
  }

  /** After the `?`. */
  get search(): string {
    const begins = this.#url.indexOf("?");
    return begins === -1 ? "" : this.#url.slice(begins + 1);
  }
}

export class RequestHandshake implements Handshake {
  readonly protocol: Protocol;
  readonly namespace: string;
  readonly auth: Handshake["auth"];
  readonly remoteAddress: string;
  readonly #line: RequestLine;
  #query: URLSearchParams | undefined;

  constructor(
    line: RequestLine,
    protocol: Protocol,
    namespace: string | undefined,
    auth: Handshake["auth"],
    remoteAddress: string,
  ) {
    this.protocol = protocol;
    this.namespace = namespace ?? line.path;
    this.#line = line;
    this.auth = auth;
    this.remoteAddress = remoteAddress;
  }

  get path(): string {
    return this.#line.path;
  }

  get requestId(): string {
    return this.#line.requestId;
  }

  get headers(): Handshake["headers"] {
    return this.#line.headers;
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.#line.search);
    return this.#query;
  }
}

/**
 * The client's address. Each trusted proxy has appended to X-Forwarded-For the address it was called
 * from; what stands further left is the client's own invention.
 */
export function clientAddress(request: IncomingMessage, trustedProxies: number): string {
  const direct = request.socket.remoteAddress ?? "";
  if (trustedProxies === 0) return direct;
  const forwarded = [request.headers["x-forwarded-for"] ?? []].flat().join(",");
  const hops = [...forwarded.split(",").map((hop) => hop.trim()), direct];
  // With fewer hops than proxies it may be the client's own text.
  return reportedAddress(hops.at(-1 - trustedProxies) ?? hops[0] ?? direct) ?? direct;
}
