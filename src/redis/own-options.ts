/** How whatever keeps or carries something in Redis reads its options: its own, and those for the way to Redis. */
import { ConfigurationError, Faults } from "../errors.ts";
import { resolveOptions } from "../options.ts";
import type { RedisCommandsSettings } from "./redis-commands.ts";
import type { RedisOptions } from "./redis-options.ts";

/** Also within patterns of rights and hash tags of a cluster it means nothing but itself. */
const PREFIX = /^[A-Za-z0-9._:-]{1,60}$/;

/** What one understands beside where Redis is. */
export interface OwnOptions<Settings extends { readonly prefix: string }> {
  readonly defaults: Settings;
  /** What the prefix is for, to be said of a wrong one. */
  readonly purpose?: string;
  /** What is wrong with settings of which each by itself is right. */
  faultsOf?(settings: Settings): readonly string[];
}

/**
 * @param make - makes what goes by all other options; it is tried even if ours are wrong, with our defaults, so that
 * all faults are told at once
 * @throws ConfigurationError that lists every fault
 */
export function readOptions<Settings extends { readonly prefix: string }, Made extends object>(
  given: object,
  { defaults, purpose, faultsOf = () => [] }: OwnOptions<Settings>,
  make: (others: RedisOptions & Partial<RedisCommandsSettings>, settings: Settings) => Made,
): { readonly settings: Settings; readonly made: Made } {
  const isOurs = ([name]: [string, unknown]) => Object.hasOwn(defaults, name);
  const entries = Object.entries(given);
  const faults = new Faults();
  const settings = faults.collect(() =>
    resolveOptions(defaults, Object.fromEntries(entries.filter(isOurs)), "redis"),
  );
  const { prefix = defaults.prefix } = given as { readonly prefix?: unknown };
  if (typeof prefix === "string" && !PREFIX.test(prefix)) {
    const end = purpose === undefined ? "" : ` for ${purpose}`;
    faults.list.push(`redis.prefix must be 1 to 60 ASCII letters, digits or any of . _ : -${end}`);
  }
  if (settings !== undefined) faults.list.push(...faultsOf(settings));
  const others = Object.fromEntries(entries.filter((entry) => !isOurs(entry)));
  const made = faults.collect(() => make(others, settings ?? defaults));
  if (settings === undefined || made === undefined || faults.list.length > 0) {
    throw new ConfigurationError(faults.list);
  }
  return { settings, made };
}
