/** Who may read metrics. */
import type { IncomingMessage } from "node:http";
import { type AskingClient, ConfigurationError, Faults, isSameSignature } from "../index.ts";

/** Who may read the metrics; without any of these programs on this machine. */
export interface DoorOptions {
  /**
   * Who may read them from elsewhere: says true, or resolves with it. What it throws is announced as `failed`,
   * and refuses.
   */
  readonly allow?: (request: IncomingMessage, client: AskingClient) => boolean | Promise<boolean>;
  /** Whoever shows this as `Authorization: Bearer ...` may; at least 16 characters, of several any. */
  readonly token?: string | readonly string[];
  /**
   * Whether programs on this machine may without any of that; by default yes. Say no where something on this
   * machine forwards requests of others without saying so (a tunnel, a proxy of TCP).
   */
  readonly loopback?: boolean;
}

const MIN_TOKEN = 16;

export class Door {
  readonly #allow: DoorOptions["allow"];
  readonly #tokens: readonly string[];
  readonly #loopback: boolean;

  /** @throws ConfigurationError that lists every fault */
  constructor({ allow, token = [], loopback = true }: DoorOptions) {
    const faults = new Faults();
    const tokens: readonly unknown[] = typeof token === "string" ? [token] : token;
    if (allow !== undefined && typeof allow !== "function") {
      faults.list.push("metrics.allow must be a function of a request that says whether it may");
    }
    if (!tokens.every((one) => typeof one === "string" && one.length >= MIN_TOKEN)) {
      faults.list.push(
        `metrics.token must be text of at least ${MIN_TOKEN} characters; make one by: openssl rand -base64 24`,
      );
    }
    if (typeof loopback !== "boolean") faults.list.push("metrics.loopback must be true or false");
    if (faults.list.length > 0) throw new ConfigurationError(faults.list);
    this.#allow = allow;
    this.#tokens = tokens as readonly string[];
    this.#loopback = loopback;
  }

  get takesTokens(): boolean {
    return this.#tokens.length > 0;
  }

  /** Rejects with what `allow` throws. */
  async admits(request: IncomingMessage, client: AskingClient): Promise<boolean> {
    if (this.#loopback && isLocal(request, client)) return true;
    const [, shown] = /^Bearer ([\x21-\x7e]{1,1000})$/i.exec(request.headers.authorization ?? "") ?? [];
    if (shown !== undefined && this.#tokens.some((token) => isSameSignature(shown, token))) return true;
    return (await this.#allow?.(request, client)) === true;
  }
}

/**
 * Whether a program on this machine asks, for itself: it is called from here, by a name of here (not from a
 * page whose name was made to point here), and if it says that it asks for somebody else, a trusted proxy
 * does, for one who is here as well.
 */
function isLocal(request: IncomingMessage, { remoteAddress, trustedProxies }: AskingClient): boolean {
  const { headers, httpVersion, socket } = request;
  if (!isLoopback(socket.remoteAddress ?? "") || !isLoopback(remoteAddress)) return false;
  if (!LOCAL_HOST.test(headers.host ?? "")) return false;
  if (httpVersion !== PROXIED_VERSION && !Object.keys(headers).some((name) => FORWARDED.test(name)))
    return true;
  // Of whom it asks for what it says must be legible: our own address stands for what is not.
  const hops = [headers["x-forwarded-for"] ?? []].flat().join(",").split(",");
  return trustedProxies > 0 && hops.every((hop) => isLoopback(hop.trim()));
}

/** By any of these somebody says that it asks for somebody else. */
const FORWARDED = /^(x-forwarded-.+|x-original-.+|x-real-ip|.+-(client|connecting)-ip|forwarded|via)$/;
/** Nginx that was told no more than where we are says none of it, but asks by this. */
const PROXIED_VERSION = "1.0";
const LOCAL_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/i;

function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127(\.\d{1,3}){3}$/i.test(address);
}
