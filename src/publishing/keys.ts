/**
 * Keys of programs that publish. A key is 256 random bits, so there is nothing to guess and a fast hash
 * keeps it as well as a slow one would: slow hashes are for what people choose. The server knows the
 * hashes alone.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { ConfigurationError, Faults, nearest, printable } from "../index.ts";
import { GroupPattern } from "./group-pattern.ts";

/** So that scanners for leaked secrets know one. */
const PREFIX = "slk_";
const KEY = /^slk_[A-Za-z0-9_-]{43}$/;
const ANY_KEY = /slk_[A-Za-z0-9_-]+/g;
const NAME = /^[A-Za-z0-9._-]{1,64}$/;
const HASH = /^[0-9a-f]{64}$/;
const EXPIRY = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/;
const FIELDS = ["name", "hash", "groups", "expiresAt"];

/** One key, as the server knows it. */
export interface PublishingKey {
  /**
   * Who has it. Two keys of one name are one client that changes its key: they share limits and
   * idempotency, and both are valid.
   */
  readonly name: string;
  /** SHA-256 of the key, as 64 hexadecimal digits. */
  readonly hash: string;
  /** Patterns of the groups it may publish to, e.g. `["chat.*"]`; `*` stands for one segment. */
  readonly groups: readonly string[];
  /** From then on it is refused; by default never. */
  readonly expiresAt?: Date;
}

/**
 * Makes a new key. Give `key` to the program that publishes and `hash` to the server; the key is shown
 * nowhere again.
 */
export function createPublishingKey(): { readonly key: string; readonly hash: string } {
  const key = PREFIX + randomBytes(32).toString("base64url");
  return { key, hash: digestOf(key).toString("hex") };
}

/**
 * Reads keys from one text, e.g. an environment variable: `name:hash:pattern,pattern` or
 * `name:hash:pattern:2027-01-31` (or a date with time and zone), with `;` or line ends between keys.
 *
 * @throws ConfigurationError that lists every fault, and shows neither keys nor hashes
 */
export function parsePublishingKeys(text: string): readonly PublishingKey[] {
  const faults: string[] = [];
  const keys: PublishingKey[] = [];
  const entries = text
    .split(/[;\r\n]/)
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
  for (const [index, entry] of entries.entries()) {
    const [name = "", hash, patterns, ...rest] = entry.split(":").map((part) => part.trim());
    const where = whereOf(index, name);
    if (hash === undefined || patterns === undefined) {
      faults.push(`${where} must be name:hash:pattern,pattern or name:hash:pattern:expiry`);
      continue;
    }
    const expiry = rest.join(":");
    const expiresAt = expiry === "" ? undefined : new Date(expiry);
    if (expiresAt !== undefined && (!EXPIRY.test(expiry) || Number.isNaN(expiresAt.getTime()))) {
      faults.push(
        `${where} expires at a date such as 2027-01-31 or 2027-01-31T12:00:00Z, not ${shown(expiry)}`,
      );
      continue;
    }
    const groups = patterns.split(",").map((pattern) => pattern.trim());
    keys.push(expiresAt === undefined ? { name, hash, groups } : { name, hash, groups, expiresAt });
    faults.push(...faultsOf(keys.at(-1), where));
  }
  if (entries.length === 0) faults.push(NO_KEYS);
  faults.push(...doubles(keys));
  if (faults.length > 0) throw new ConfigurationError(faults);
  return keys;
}

/** A key that was shown, and what it may do. */
export interface KnownKey {
  readonly name: string;
  readonly hasExpired: boolean;
  allows(group: string): boolean;
}

interface Entry {
  readonly name: string;
  readonly digest: Buffer;
  readonly patterns: readonly GroupPattern[];
  readonly expiresAt: number;
}

export class KeyRing {
  readonly #entries: readonly Entry[];

  /** @throws ConfigurationError that lists every fault, and shows neither keys nor hashes */
  constructor(keys: readonly PublishingKey[]) {
    const list = Array.isArray(keys) ? (keys as readonly PublishingKey[]) : [];
    const faults = list.flatMap((key, index) => faultsOf(key, whereOf(index, key?.name)));
    if (list.length === 0) faults.push(NO_KEYS);
    faults.push(...doubles(list));
    if (faults.length > 0) throw new ConfigurationError(faults);
    this.#entries = list.map(({ name, hash, groups, expiresAt }) => ({
      name,
      digest: Buffer.from(hash, "hex"),
      patterns: groups.map((pattern) => new GroupPattern(pattern)),
      expiresAt: expiresAt?.getTime() ?? Number.POSITIVE_INFINITY,
    }));
  }

  get names(): ReadonlySet<string> {
    return new Set(this.#entries.map(({ name }) => name));
  }

  /** Takes as long whichever key it is, and whether it is one. */
  find(text: string): KnownKey | undefined {
    const digest = digestOf(text);
    let found: Entry | undefined;
    for (const entry of this.#entries) {
      if (timingSafeEqual(entry.digest, digest)) found = entry;
    }
    if (found === undefined || !KEY.test(text)) return undefined;
    const { name, patterns, expiresAt } = found;
    return {
      name,
      hasExpired: expiresAt <= Date.now(),
      allows: (group) => patterns.some((pattern) => pattern.matches(group)),
    };
  }
}

const NO_KEYS =
  "publishing needs at least one key; createPublishingKey() makes one, and the server gets its hash";

function faultsOf(key: PublishingKey | undefined, where: string): string[] {
  if (typeof key !== "object" || key === null) return [`${where} must be { name, hash, groups, expiresAt? }`];
  const faults = new Faults();
  for (const field of Object.keys(key)) {
    if (FIELDS.includes(field)) continue;
    const meant = nearest(field, FIELDS);
    faults.list.push(
      `${where} has a field ${shown(field)}; ${meant ? `did you mean "${meant}"?` : `there are ${FIELDS.join(", ")}`}`,
    );
  }
  const { name, hash, groups, expiresAt } = key;
  if (typeof name !== "string" || !NAME.test(name) || isLikeKey(name)) {
    faults.list.push(
      `${where} needs a name of 1 to 64 letters, digits, "-", "_" or "." that says who has it`,
    );
  }
  if (typeof hash !== "string" || !HASH.test(hash)) {
    faults.list.push(
      typeof hash === "string" && isLikeKey(hash)
        ? `${where} has the key itself where its hash belongs; a key that stood in a configuration is no secret any more, make a new one with createPublishingKey()`
        : `${where} needs the key's SHA-256 as 64 hexadecimal digits in lower case, which createPublishingKey() returns as "hash"`,
    );
  }
  if (!Array.isArray(groups) || groups.length === 0) {
    faults.list.push(`${where} needs a list of patterns of groups, e.g. ["chat.*"]`);
  } else {
    for (const pattern of groups as readonly unknown[]) {
      try {
        new GroupPattern(String(pattern));
      } catch (error) {
        faults.list.push(`${where} has the pattern ${shown(String(pattern))}; ${(error as Error).message}`);
      }
    }
  }
  if (expiresAt !== undefined && !(expiresAt instanceof Date && !Number.isNaN(expiresAt.getTime()))) {
    faults.list.push(`${where} has an expiresAt that is no valid Date`);
  }
  return faults.list;
}

function doubles(keys: readonly PublishingKey[]): string[] {
  const seen = new Map<string, number>();
  return keys.flatMap((key, index) => {
    const hash = key?.hash;
    if (typeof hash !== "string" || !HASH.test(hash)) return [];
    const first = seen.get(hash);
    if (first === undefined) seen.set(hash, index);
    return first === undefined
      ? []
      : [
          `${whereOf(index, key.name)} has the hash of ${whereOf(first, keys[first]?.name)}; give each its own key, or one key all its patterns`,
        ];
  });
}

function whereOf(index: number, name: unknown): string {
  const isName = typeof name === "string" && NAME.test(name) && !isLikeKey(name) && !HASH.test(name);
  return `key ${index + 1}${isName ? ` (${name})` : ""}`;
}

function isLikeKey(text: string): boolean {
  return text.includes(PREFIX) && text.length >= PREFIX.length + 16;
}

function shown(text: string): string {
  return `"${printable(text.replace(ANY_KEY, `${PREFIX}…`), 40)}"`;
}

function digestOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
