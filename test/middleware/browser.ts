/** A browser as far as cookies are concerned, and a route by which tests log in over HTTP. */
import type { Socket } from "socket.io-client";
import { connected, type Live } from "../server/live-server.ts";

export const SECRET = "a secret that all nodes of a test share";

/** Keeps cookies, and shows them in requests and connections. */
export class Browser {
  readonly #live: Live;
  readonly #jar = new Map<string, string>();

  /** @param jar - another tab's, or another node's */
  constructor(live: Live, other?: Browser) {
    this.#live = live;
    if (other !== undefined) this.#jar = other.#jar;
  }

  get cookie(): string {
    return [...this.#jar].map(([name, value]) => `${name}=${value}`).join("; ");
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { ...(init.headers as Record<string, string>), cookie: this.cookie };
    const response = await fetch(this.#live.url + path, { ...init, headers });
    for (const line of response.headers.getSetCookie()) {
      const [pair = ""] = line.split(";");
      const at = pair.indexOf("=");
      this.#jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    return response;
  }

  socket(namespace: string, options: Parameters<Live["client"]>[1] = {}): Socket {
    return this.#live.client(namespace, { ...options, extraHeaders: { cookie: this.cookie } });
  }

  open(namespace: string): Promise<Socket> {
    return connected(this.socket(namespace));
  }
}
