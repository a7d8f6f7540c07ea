/** What a request says about its client, in the form that the application takes. */
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import type { Handshake, Protocol } from "../types.ts";

export function handshakeOf(
  request: IncomingMessage,
  protocol: Protocol,
  namespace: string | undefined,
  auth: Handshake["auth"],
  trustedProxies: number,
): Handshake {
  const { pathname, searchParams } = parseUrl(request.url);
  return {
    protocol,
    namespace: namespace ?? pathname,
    path: pathname,
    query: searchParams,
    headers: request.headers,
    auth,
    remoteAddress: clientAddress(request, trustedProxies),
  };
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
  const client = hops.at(-1 - trustedProxies) ?? hops[0] ?? direct;
  // With fewer hops than proxies it may be the client's own text.
  return isIP(client) === 0 ? direct : client;
}

function parseUrl(url: string | undefined): { pathname: string; searchParams: URLSearchParams } {
  // Not `new URL(url, base)`: "//host/x" would be taken for another host.
  const [pathname = "/", query = ""] = (url ?? "/").split(/\?(.*)/s);
  return { pathname, searchParams: new URLSearchParams(query) };
}
