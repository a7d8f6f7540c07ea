import {
  type ApplicationPart,
  ConfigurationError,
  Consumer,
  deny,
  InvalidMessage,
  isSameSignature,
  type Middleware,
  NoHandler,
  route,
} from "../index.ts";

/** Who may look whether the application does its work, and where. */
export interface CanaryOptions {
  /** Lets in whoever shows it; at least 16 characters. Undefined or empty: there is no canary. */
  readonly key: string | undefined;
  /** Where its route is. Default `/canary`. */
  readonly path?: string;
  /**
   * Whether its groups keep history, so that it sees whether clients are given what they missed. Default
   * true; false where the application can keep none (several processes without Redis).
   */
  readonly recovers?: boolean;
}

const MIN_KEY = 16;
/** So that a run finds what it sent, and nothing of it stays. */
const HISTORY = { size: 20, ttlMs: 60_000 };

/**
 * A part of an application that `sluice canary URL` talks to: a route, guarded by a key, on which a client
 * joins a group of its own and sends numbers to it. It costs what such a client costs, while there is one;
 * without a key it is nothing at all.
 *
 * @example
 * createApplication({ routes, parts: [canary({ key: process.env.CANARY_KEY })], backplane, history, secret });
 * @throws ConfigurationError for a key that is too short
 */
export function canary({ key, path = "/canary", recovers = true }: CanaryOptions): ApplicationPart {
  const idle = { open: async () => {}, close: async () => {} };
  if (key === undefined || key === "") return idle;
  if (key.length < MIN_KEY) {
    throw new ConfigurationError([
      `the canary's key (CANARY_KEY) must have at least ${MIN_KEY} characters; make one by: openssl rand -base64 24`,
    ]);
  }
  const showsKey: Middleware = ({ auth }, next) => {
    if (typeof auth.key === "string" && isSameSignature(auth.key, key)) return next();
    return deny(4403, "this is not the canary's key");
  };
  const options = { recovers };
  return {
    ...idle,
    routes: [
      route(`${path}/:run(slug)` as "/:run(slug)", CanaryConsumer, { middleware: [showsKey], options }),
    ],
    groups: recovers ? { "canary.*": { history: HISTORY } } : {},
  };
}

interface Canary {
  params: { run: string };
  options: { readonly recovers: boolean };
  receives: { tell: number };
  sends: { hello: { readonly node: string; readonly recovers: boolean }; told: number };
}

class CanaryConsumer extends Consumer<Canary> {
  readonly #group = `canary.${this.scope.params.run}`;

  override async connect(): Promise<void> {
    await this.groupAdd(this.#group);
    const [node = ""] = this.channel.split("!");
    this.send("hello", { node, recovers: this.options.recovers });
  }

  override async receive(event: string, payload: unknown): Promise<true> {
    if (event !== "tell") throw new NoHandler("a canary only tells");
    if (typeof payload !== "number") throw new InvalidMessage("a canary tells numbers");
    await this.groupEmit(this.#group, "told", payload);
    return true;
  }
}
