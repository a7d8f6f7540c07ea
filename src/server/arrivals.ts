/** What happens to every request before anybody answers it, Socket.IO's own included. */
import {
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
  validateHeaderName,
  validateHeaderValue,
} from "node:http";
import type { RequestHandler } from "express";
import { CloseCode, ConfigurationError, ConnectionDenied } from "../errors.ts";
import type { Facts } from "../facts.ts";
import type { ServerSettings } from "../options.ts";
import { onGone } from "./gone.ts";
import { sendError } from "./http.ts";
import { requestId } from "./request-id.ts";
import { clientAddress } from "./scope.ts";

/** @returns a function that ends it */
export function watchArrivals(
  http: HttpServer,
  { path: ioPath, rootPath, trustedProxies }: Pick<ServerSettings, "path" | "rootPath" | "trustedProxies">,
  { answered, limited }: Pick<Facts, "answered" | "limited">,
): () => void {
  const isPacket = ({ url = "", method }: IncomingMessage) =>
    method === "POST" && url.startsWith(ioPath.replace(/\/?$/, "/"));
  const arrive = (request: IncomingMessage, response: unknown) => {
    const { url = "/", method = "GET" } = request;
    if (rootPath !== "" && isBelow(rootPath, url)) {
      request.url = url.slice(rootPath.length).replace(/^(?!\/)/, "/");
    }
    if (!isResponse(response)) return;
    if (limited.hasReceivers && isPacket(request)) {
      const remoteAddress = clientAddress(request, trustedProxies);
      // Engine.IO tells nobody else.
      onGone(response, () => {
        if (response.statusCode === 413) limited.announce({ limit: "maxPayloadBytes", remoteAddress });
      });
    }
    if (!answered.hasReceivers) return;
    const startedAt = performance.now();
    // It cannot be asked any more once the connection has gone.
    const remoteAddress = clientAddress(request, trustedProxies);
    onGone(response, () => {
      answered.announce({
        requestId: requestId(request, trustedProxies),
        method,
        path: url.split("?", 1)[0] ?? "",
        status: response.writableFinished || response.headersSent ? response.statusCode : 0,
        remoteAddress,
        tookMs: performance.now() - startedAt,
      });
    });
  };
  http.prependListener("request", arrive);
  http.prependListener("upgrade", arrive);
  return () => {
    http.off("request", arrive);
    http.off("upgrade", arrive);
  };
}

function isBelow(rootPath: string, url: string): boolean {
  return url.startsWith(rootPath) && /^($|[/?])/.test(url.slice(rootPath.length));
}

function isResponse(response: unknown): response is ServerResponse {
  return typeof (response as Partial<ServerResponse>).writeHead === "function";
}

/** What the first answer to a connection says beside what it must. */
export type HandshakeHeaders = (request: IncomingMessage) => Readonly<Record<string, string>>;

/** None at all if the function throws or one of them is no header: that is a bug, and announced. */
export function checkedHeaders(
  headers: HandshakeHeaders,
  { failed }: Pick<Facts, "failed">,
): HandshakeHeaders {
  if (typeof headers !== "function") {
    throw new ConfigurationError(["server.headers must be a function of a request"]);
  }
  return (request) => {
    try {
      const given = Object.entries(headers(request));
      for (const [name, value] of given) {
        validateHeaderName(name);
        validateHeaderValue(name, value);
      }
      return Object.fromEntries(given);
    } catch (error) {
      failed.announce({ hook: "http", error });
      return {};
    }
  };
}

/**
 * By which names this server may be called: a page that was given another name for its address (DNS
 * rebinding) would pass for the server's own.
 */
export class Hosts {
  readonly #names: readonly string[];

  /** @throws ConfigurationError that lists every name it cannot read */
  constructor(names: readonly string[]) {
    const faults = names.filter((name) => !NAME.test(name));
    if (faults.length > 0) {
      throw new ConfigurationError(
        faults.map(
          (name) => `hosts: "${name}" is no name; write "app.example" or "*.app.example", without port`,
        ),
      );
    }
    this.#names = names.map((name) => name.toLowerCase());
  }

  /** @param host - the Host header; its port is not looked at */
  allows(host: string | undefined): boolean {
    if (this.#names.length === 0) return true;
    const [, called] = CALLED.exec(host?.toLowerCase() ?? "") ?? [];
    if (called === undefined) return false;
    return this.#names.some((name) =>
      name.startsWith("*.") ? called.endsWith(name.slice(1)) : called === name,
    );
  }

  get handler(): RequestHandler {
    return (request, response, next) => {
      if (this.allows(request.headers.host)) return next();
      sendError(response, new ConnectionDenied(CloseCode.badRequest, "this server has another name"));
    };
  }
}

const NAME = /^(\*\.)?([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])$/i;
/** A dot at the end names the same host. */
const CALLED = /^([a-z0-9_.-]+?|\[[0-9a-f:.]+\])\.?(?::[0-9]{1,5})?$/;
