import { ConfigurationError } from "./errors.ts";

/** `https://app.example:8443`, `app.example`, `.app.example`, `*.app.example`, `null`, `*`. */
interface Rule {
  readonly scheme: string | undefined;
  /** Without the dot of `*.`. */
  readonly host: string;
  readonly port: string | undefined;
  /** Which hosts: this one, those below it (`*.`), or both (a dot before it). */
  readonly reach: "host" | "below" | "both";
}

const RULE = /^(?:(https?):\/\/)?(\*?\.)?([^\s/?#@\\:*[\]]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/;

/** Which pages may connect. A page of the server's own origin always may. */
export class Origins {
  readonly #rules: readonly Rule[];
  readonly #any: boolean;
  readonly #null: boolean;
  readonly #allowMissing: boolean;

  /** @throws ConfigurationError that lists every rule it cannot read */
  constructor(rules: readonly string[], allowMissing: boolean) {
    this.#any = rules.includes("*");
    this.#null = this.#any || rules.includes("null");
    this.#allowMissing = allowMissing;
    const faults: string[] = [];
    this.#rules = rules.flatMap((text) => (text === "*" || text === "null" ? [] : parseRule(text, faults)));
    if (faults.length > 0) throw new ConfigurationError(faults);
  }

  /**
   * @param host - the request's Host header: what the client calls this server
   * @param site - its Sec-Fetch-Site header: where a browser says that the page is from
   */
  allows(origin: string | undefined, host: string | undefined, site?: string): boolean {
    // For images and scripts of foreign pages browsers send no Origin, either.
    if (origin === undefined)
      return this.#allowMissing && (this.#any || !/^(cross|same)-site$/.test(site ?? ""));
    const url = parseOrigin(origin);
    if (url === undefined) return this.#null && origin === "null";
    return this.#any || isSame(url, host) || this.#rules.some((rule) => matches(rule, url));
  }

  /** Whether a page of another origin may read what is answered (CORS). */
  allowsCross(origin: string | undefined): boolean {
    return origin !== undefined && this.allows(origin, undefined);
  }

  get allowsAll(): boolean {
    return this.#any;
  }

  get allowsNoOthers(): boolean {
    return !this.#null && this.#rules.length === 0;
  }
}

function parseRule(text: string, faults: string[]): Rule[] {
  const [, scheme, dot, written, port] = RULE.exec(text.toLowerCase()) ?? [];
  const host = written && hostOf(written);
  if (host !== undefined && !(Number(port) > 65_535) && (dot === undefined || !host.startsWith("["))) {
    return [{ scheme, host, port, reach: dot === undefined ? "host" : dot === "." ? "both" : "below" }];
  }
  faults.push(
    `origins: "${text}" is no origin; write "https://app.example", "app.example:8443", ".app.example", "*.app.example", "null" or "*"`,
  );
  return [];
}

/** As a browser would write it: IPv6 at its shortest, names of other alphabets in ASCII. */
function hostOf(written: string): string | undefined {
  const url = `http://${written}`;
  return URL.canParse(url) && !/\.\.|^[.-]/.test(written) ? new URL(url).hostname : undefined;
}

/** Undefined for what no browser sends as the origin of a web page. */
function parseOrigin(origin: string): URL | undefined {
  if (!/^https?:\/\/[^/?#@\\\s]+$/i.test(origin)) return undefined;
  return URL.canParse(origin) ? new URL(origin) : undefined;
}

/** The scheme is not compared: behind a proxy that ends TLS the server does not know its own. */
function isSame(origin: URL, host: string | undefined): boolean {
  if (host === undefined) return false;
  const own = `${origin.protocol}//${host}`;
  return URL.canParse(own) && new URL(own).host === origin.host;
}

function matches({ scheme, host, port, reach }: Rule, origin: URL): boolean {
  if (scheme !== undefined && `${scheme}:` !== origin.protocol) return false;
  const isHost = reach !== "below" && origin.hostname === host;
  const isBelow = reach !== "host" && origin.hostname.endsWith(`.${host}`);
  return (isHost || isBelow) && portMatches(port, origin);
}

/** No port in a rule means the default port of the origin's scheme, which URL leaves out. */
function portMatches(port: string | undefined, origin: URL): boolean {
  const usual = origin.protocol === "https:" ? "443" : "80";
  return Number(port ?? usual) === Number(origin.port || usual);
}
