/**
 * Encryption of what leaves this process: AES-256-GCM (NIST SP 800-38D) with a list of keys, of which the first
 * encrypts and all decrypt. What was encrypted for one place opens nowhere else.
 *
 * A sealed text is `~1` and in base64: the key's id (4 bytes), the salt of the key's derivative (16), the nonce
 * (12), the ciphertext and its tag (16). In `~2` the derivative is the key's own and there is no salt.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  randomFillSync,
} from "node:crypto";
import { ConfigurationError, SluiceError } from "./errors.ts";
import type { Facts, UnopenedFact } from "./facts.ts";

/** In the list of keys: what is not encrypted is taken, too; in the first place: nothing is encrypted. */
export const CLEAR = "clear";

/** Where a text belongs; it opens nowhere else. */
export type Place = readonly string[];

/** Why a text cannot be read. */
export type UnopenedReason = UnopenedFact["reason"];

/** A text cannot be read. */
export class Unopened extends SluiceError {
  readonly code = "unopened";
  readonly reason: UnopenedReason;

  constructor(reason: UnopenedReason) {
    super(WORDS[reason]);
    this.reason = reason;
  }
}

const WORDS: Readonly<Record<UnopenedReason, string>> = {
  "no-keys": "it is encrypted, and this process has no encryptionKeys (SLUICE_ENCRYPTION_KEYS)",
  "unknown-key": "it was encrypted by a key that is not among this process' encryptionKeys",
  altered: "it was changed, cut off, or belongs to another place",
  "not-encrypted": "it is not encrypted: some other process has no encryptionKeys, or a stranger wrote it",
};

const MARK = "~1";
const SAME_MARK = "~2";
const ID_BYTES = 4;
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const CIPHER = "aes-256-gcm";
/** Random nonces of 96 bits under one key (SP 800-38D, 8.3); another derivative is used from then on. */
const MAX_NONCES = 2 ** 32;
/** Derivatives of other processes that are remembered, by key. */
const MAX_KNOWN = 1_000;
const NONCES_AT_ONCE = 256;

/**
 * Each process encrypts by a derivative of the first key that is its own (HKDF-SHA-256, RFC 5869, with a random
 * salt), so that the bound of random nonces per key is one per process, and never reached.
 */
export class Sealer {
  readonly #keys: readonly Key[];
  readonly #takesClear: boolean;
  readonly #sealsBy: Key | undefined;
  readonly #nonces = Buffer.alloc(NONCE_BYTES * NONCES_AT_ONCE);
  #nextNonce = NONCES_AT_ONCE;
  #own: Derivative | undefined;
  #sealed = 0;

  /**
   * @param keys - 32 bytes each, in base64; or `"clear"` (see {@link CLEAR}). None at all is as `["clear"]`
   * @throws ConfigurationError that lists every fault and shows no key
   */
  constructor(keys: readonly string[]) {
    const secret = checked(keys).map((key) => (key === CLEAR ? undefined : new Key(key)));
    this.#keys = secret.filter((key) => key !== undefined);
    this.#takesClear = keys.length === 0 || keys.includes(CLEAR);
    this.#sealsBy = secret[0];
  }

  get hasKeys(): boolean {
    return this.#keys.length > 0;
  }

  seal(text: string, place: Place): string {
    const key = this.#sealsBy;
    if (key === undefined) return text;
    if (this.#own === undefined || this.#sealed >= MAX_NONCES) {
      this.#own = key.derive(randomBytes(SALT_BYTES));
      this.#sealed = 0;
    }
    this.#sealed += 1;
    return MARK + encrypt(this.#own, this.#nonce(), text, place);
  }

  /**
   * The same text for the same place is the same whoever seals it, so that who keeps it can tell whether it has
   * changed; and so can who looks. For few texts: all processes share one bound (the nonce is an HMAC of both).
   */
  sealSame(text: string, place: Place): string {
    const key = this.#sealsBy;
    if (key === undefined) return text;
    const hmac = createHmac("sha256", key.nonceKey).update(placeBytes(place)).update("\0").update(text);
    return SAME_MARK + encrypt(key.own, hmac.digest().subarray(0, NONCE_BYTES), text, place);
  }

  /** @throws Unopened */
  open(text: string, place: Place): string {
    if (!isSealed(text)) {
      if (this.#takesClear) return text;
      throw new Unopened("not-encrypted");
    }
    if (this.#keys.length === 0) throw new Unopened("no-keys");
    const bytes = Buffer.from(text.slice(MARK.length), "base64");
    const head = ID_BYTES + (text.startsWith(MARK) ? SALT_BYTES : 0);
    if (bytes.length < head + NONCE_BYTES + TAG_BYTES) throw new Unopened("altered");
    const id = bytes.readUInt32BE();
    const salt = bytes.subarray(ID_BYTES, head);
    let isKnown = false;
    // Ids of two keys may be the same.
    for (const key of this.#keys) {
      if (key.id !== id) continue;
      isKnown = true;
      const opened = decrypt(key.of(salt), bytes.subarray(head), place);
      if (opened === undefined) continue;
      key.remember(salt);
      return opened;
    }
    throw new Unopened(isKnown ? "altered" : "unknown-key");
  }

  /** From a supply: asking for each costs more than encrypting. */
  #nonce(): Buffer {
    if (this.#nextNonce >= NONCES_AT_ONCE) {
      randomFillSync(this.#nonces);
      this.#nextNonce = 0;
    }
    const at = this.#nextNonce * NONCE_BYTES;
    this.#nextNonce += 1;
    return this.#nonces.subarray(at, at + NONCE_BYTES);
  }
}

/** Whether it looks encrypted. */
export function isSealed(text: string): boolean {
  return text.startsWith(MARK) || text.startsWith(SAME_MARK);
}

/** Seals and opens for one carrier; what cannot be opened is announced. */
export class Seal {
  readonly #sealer: Sealer;
  readonly #facts: Pick<Facts, "unopened">;
  readonly #carrier: UnopenedFact["carrier"];
  readonly #prefix: string;

  /** @param prefix - what tells this application from others on the same carrier */
  constructor(
    sealer: Sealer,
    facts: Pick<Facts, "unopened">,
    carrier: UnopenedFact["carrier"],
    prefix: string | undefined,
  ) {
    this.#sealer = sealer;
    this.#facts = facts;
    this.#carrier = carrier;
    this.#prefix = prefix ?? "";
  }

  /** @param target - topic, group or job; with `more` it is the place */
  seal(text: string, target: string, ...more: readonly string[]): string {
    return this.#sealer.seal(text, [this.#carrier, this.#prefix, target, ...more]);
  }

  sealSame(text: string, target: string, ...more: readonly string[]): string {
    return this.#sealer.sealSame(text, [this.#carrier, this.#prefix, target, ...more]);
  }

  /** Undefined, and announced, for what cannot be opened. */
  open(text: string, target: string, ...more: readonly string[]): string | undefined {
    const opened = this.tryOpen(text, target, ...more);
    return opened instanceof Unopened ? undefined : opened;
  }

  /** The same; what is wrong is returned as well. */
  tryOpen(text: string, target: string, ...more: readonly string[]): string | Unopened {
    try {
      return this.#sealer.open(text, [this.#carrier, this.#prefix, target, ...more]);
    } catch (error) {
      if (!(error instanceof Unopened)) throw error;
      this.tell(target, error);
      return error;
    }
  }

  tell(target: string, { reason }: Unopened): void {
    this.#facts.unopened.announce({ carrier: this.#carrier, target, reason });
  }
}

/** A key for AES, and the first bytes of what it encrypts. */
interface Derivative {
  readonly key: KeyObject;
  readonly head: Buffer;
}

class Key {
  readonly id: number;
  /** That of all processes together. */
  readonly own: Derivative;
  readonly nonceKey: Buffer;
  readonly #secret: Buffer;
  readonly #known = new Map<string, Derivative>();
  /** Derived last, not known to be of use. */
  #last: Derivative | undefined;

  constructor(text: string) {
    this.#secret = Buffer.from(text, "base64");
    this.id = this.#derived("sluice key id", ID_BYTES).readUInt32BE();
    this.nonceKey = this.#derived("sluice nonce", KEY_BYTES);
    this.own = { key: createSecretKey(this.#derived("sluice same", KEY_BYTES)), head: this.#head() };
  }

  derive(salt: Buffer): Derivative {
    const key = createSecretKey(this.#derived("sluice process", KEY_BYTES, salt));
    return { key, head: this.#head(salt) };
  }

  /** The derivative by which something was encrypted. */
  of(salt: Buffer): Derivative {
    if (salt.length === 0) return this.own;
    const known = this.#known.get(salt.toString("latin1"));
    if (known !== undefined) return known;
    this.#last = this.derive(salt);
    return this.#last;
  }

  /** It has opened something: no stranger's, who could have all others forgotten. */
  remember(salt: Buffer): void {
    if (this.#last === undefined) return;
    const last = this.#last;
    this.#last = undefined;
    if (salt.length === 0 || !last.head.subarray(ID_BYTES).equals(salt)) return;
    const [oldest] = this.#known.keys();
    if (this.#known.size >= MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(salt.toString("latin1"), last);
  }

  #head(salt: Buffer = Buffer.alloc(0)): Buffer {
    const head = Buffer.alloc(ID_BYTES + salt.length);
    head.writeUInt32BE(this.id);
    salt.copy(head, ID_BYTES);
    return head;
  }

  #derived(info: string, bytes: number, salt: Buffer = Buffer.alloc(0)): Buffer {
    return Buffer.from(hkdfSync("sha256", this.#secret, salt, info, bytes));
  }
}

function encrypt({ key, head }: Derivative, nonce: Buffer, text: string, place: Place): string {
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(placeBytes(place));
  const parts = [head, nonce, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat(parts).toString("base64");
}

function decrypt({ key }: Derivative, bytes: Buffer, place: Place): string | undefined {
  const nonce = bytes.subarray(0, NONCE_BYTES);
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(placeBytes(place));
  decipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
  const clear = decipher.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES));
  try {
    decipher.final();
    return clear.toString("utf8");
  } catch {
    return undefined;
  }
}

function placeBytes(place: Place): Buffer {
  return Buffer.from(JSON.stringify(place));
}

const FORM = /^[A-Za-z0-9+/_-]{43}=?$/;

function checked(keys: readonly string[]): readonly string[] {
  const faults: string[] = [];
  const seen = new Set<string>();
  for (const [i, key] of keys.entries()) {
    const which = `encryptionKeys[${i}]`;
    if (key === CLEAR) {
      if (keys.length === 1) faults.push(`${which} is "clear" alone, which encrypts nothing; leave it out`);
    } else if (typeof key !== "string" || !FORM.test(key)) {
      faults.push(`${which} must be 32 random bytes in base64; make them by: openssl rand -base64 32`);
      continue;
    } else if (new Set(Buffer.from(key, "base64")).size < 8) {
      faults.push(`${which} is not random; make one by: openssl rand -base64 32`);
    }
    const bytes = key === CLEAR ? key : Buffer.from(key, "base64").toString("base64");
    if (seen.has(bytes)) faults.push(`${which} is in the list already`);
    seen.add(bytes);
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
  return keys;
}
