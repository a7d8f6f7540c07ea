/** Users whose tokens count no longer, although they have not expired. */
import {
  type Application,
  type ApplicationPart,
  CloseCode,
  type Given,
  type PartContext,
  type PartFinding,
} from "../index.ts";
import { RedisCommands, type RedisCommandsSettings, type RedisOptions, readOptions } from "../redis/index.ts";
import { checkDuration, revokedBefore } from "./authenticate.ts";
import type { TokenClaims } from "./bearer-token.ts";

/** How long what was revoked is remembered. */
export interface RevocationOptions {
  /** How long it is remembered: as long as a token lives. Default a day. */
  readonly keepMs?: number;
}

/** What `bearerToken({ isRevoked })` asks, and whoever revokes tells. */
export interface Revocations {
  /**
   * All tokens that the user has been issued until now count no longer, on any node, and the user's connections
   * are closed with 4401. Tokens tell whole seconds, so one that is issued in this very second counts no longer either.
   *
   * @throws LayerUnavailable if it could not be noted, or other nodes could not be told
   */
  revokeUser(app: Pick<Application, "closeUser">, user: string): Promise<void>;
  /** For `bearerToken`: of the user whose id is `sub`. */
  readonly isRevoked: (claims: TokenClaims) => Promise<boolean>;
}

const DAY_MS = 24 * 3_600_000;
const MAX_USERS = 100_000;
const COMMANDS: readonly string[] = ["get", "set"];

async function closeAll(app: Pick<Application, "closeUser">, user: string): Promise<void> {
  await app.closeUser(user, CloseCode.unauthenticated, "log in again");
}

/** In this process, which must be the only node. */
export class MemoryRevocations implements Revocations {
  readonly #keepMs: number;
  readonly #revoked = new Map<string, number>();

  /** @throws ConfigurationError for a wrong option */
  constructor({ keepMs = DAY_MS }: RevocationOptions = {}) {
    checkDuration("keepMs", keepMs);
    this.#keepMs = keepMs;
  }

  async revokeUser(app: Pick<Application, "closeUser">, user: string): Promise<void> {
    const now = Date.now();
    this.#revoked.delete(user);
    this.#revoked.set(user, now);
    for (const [id, at] of this.#revoked) {
      if (at > now - this.#keepMs && this.#revoked.size <= MAX_USERS) break;
      this.#revoked.delete(id);
    }
    await closeAll(app, user);
  }

  readonly isRevoked = async ({ sub, iat }: TokenClaims): Promise<boolean> => {
    const at = this.#revoked.get(sub);
    return at !== undefined && at > Date.now() - this.#keepMs && revokedBefore(iat, at);
  };
}

export const redisRevocationsDefaults = {
  /** Begins every key. Applications that share a Redis need different ones. */
  prefix: "sluice",
  keepMs: DAY_MS,
};

/** Where Redis is, and how long {@link RedisRevocations} remembers. */
export interface RedisRevocationsOptions
  extends RevocationOptions,
    RedisOptions,
    Given<RedisCommandsSettings>,
    Given<Omit<typeof redisRevocationsDefaults, "keepMs">> {}

/** In Redis, for all nodes. Give it to the application as one of its `parts`. With Redis down nobody comes in by token. */
export class RedisRevocations implements Revocations, ApplicationPart {
  readonly #commands: RedisCommands;
  readonly #keepMs: number;
  readonly #prefix: string;

  /** @throws ConfigurationError that lists every fault of the options */
  constructor(options: RedisRevocationsOptions = {}) {
    const own = { defaults: redisRevocationsDefaults, purpose: "revocations" };
    const { made, settings } = readOptions(options, own, (others, { prefix }) => {
      const rights = { names: `resetkeys ~${prefix}.revoked.*`, commands: COMMANDS };
      return new RedisCommands(others, {}, rights);
    });
    this.#prefix = settings.prefix;
    this.#keepMs = settings.keepMs;
    this.#commands = made;
  }

  /** @throws ConfigurationError when Redis cannot be used, with what to do */
  async open(context?: PartContext): Promise<void> {
    await this.#commands.open(async () => {
      await this.#at("sluice-rehearsal");
      const key = this.#key("sluice-rehearsal");
      await this.#commands.command(key, ["SET", key, "0", "PX", "1000"]);
    });
    context?.signals.stopped.connect(() => this.#commands.close());
  }

  async check(): Promise<readonly PartFinding[]> {
    // It runs no scripts.
    return this.#commands.check({ name: "revocations", keeps: true }, ["ping", ...COMMANDS]);
  }

  /** As a part it ends with the application; who opened it alone calls {@link end}. */
  async close(): Promise<void> {}

  end(): void {
    this.#commands.close();
  }

  async revokeUser(app: Pick<Application, "closeUser">, user: string): Promise<void> {
    const key = this.#key(user);
    await this.#commands.command(key, ["SET", key, String(Date.now()), "PX", String(this.#keepMs)]);
    await closeAll(app, user);
  }

  readonly isRevoked = async ({ sub, iat }: TokenClaims): Promise<boolean> => {
    const at = await this.#at(sub);
    return at !== undefined && revokedBefore(iat, at);
  };

  async #at(user: string): Promise<number | undefined> {
    const key = this.#key(user);
    const text = await this.#commands.command(key, ["GET", key]);
    return typeof text === "string" ? Number(text) : undefined;
  }

  #key(user: string): string {
    return `${this.#prefix}.revoked.${user}`;
  }
}
