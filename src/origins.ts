import { ConfigurationError } from "./errors.ts";

/** `https://app.example:8443`, `app.example`, `*.app.example`, `*`. */
interface Rule {
  readonly scheme: string | undefined;
  /** Without the dot of `*.`. */
  readonly host: string;
  readonly port: string | undefined;
  readonly subdomains: boolean;
}

const RULE = /^(?:(https?):\/\/)?(\*\.)?([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/;

/** Which pages may connect. A page of the server's own origin always may. */
export class Origins {
  readonly #rules: readonly Rule[];
  readonly #any: boolean;
  readonly #allowMissing: boolean;

  /** @throws ConfigurationError that lists every rule it cannot read */
  constructor(rules: readonly string[], allowMissing: boolean) {
    this.#any = rules.includes("*");
    this.#allowMissing = allowMissing;
    const faults: string[] = [];
    this.#rules = rules.flatMap((text) => (text === "*" ? [] : parseRule(text, faults)));
    if (faults.length > 0) throw new ConfigurationError(faults);
  }

  /** @param host - the request's Host header: what the client calls this server */
  allows(origin: string | undefined, host: string | undefined): boolean {
    if (origin === undefined) return this.#allowMissing;
    const url = parseOrigin(origin);
    if (url === undefined) return this.#any && origin === "null";
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
    return !this.#any && this.#rules.length === 0;
  }
}

function parseRule(text: string, faults: string[]): Rule[] {
  const [, scheme, star, host, port] = RULE.exec(text.toLowerCase()) ?? [];
  if (host !== undefined) return [{ scheme, host, port, subdomains: star !== undefined }];
  faults.push(
    `origins: "${text}" is no origin; write "https://app.example", "app.example:8443", "*.app.example" or "*"`,
  );
  return [];
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

function matches({ scheme, host, port, subdomains }: Rule, origin: URL): boolean {
  if (scheme !== undefined && `${scheme}:` !== origin.protocol) return false;
  const hostMatches = subdomains ? origin.hostname.endsWith(`.${host}`) : origin.hostname === host;
  return hostMatches && portMatches(port, origin);
}

/** No port in a rule means the default port of the origin's scheme, which URL leaves out. */
function portMatches(port: string | undefined, origin: URL): boolean {
  const usual = origin.protocol === "https:" ? "443" : "80";
  return (port ?? usual) === (origin.port || usual);
}
