import type { JSONWebKeySet, JWTVerifyGetKey } from "jose";
import { LayerUnavailable, peer, within } from "../index.ts";

export interface JwksOptions {
  readonly url: URL;
  /** How long one fetch may take. */
  readonly timeoutMs: number;
  /** After so long keys are fetched anew; old ones are good until then, and while they cannot be. */
  readonly cacheMs: number;
  /** A key that is not known makes keys be fetched, but not sooner than this after the last time. */
  readonly cooldownMs: number;
}

interface KeySet {
  readonly getKey: JWTVerifyGetKey;
  readonly fetchedAt: number;
}

const MAX_BYTES = 1_048_576;
/** How soon it is tried again while there are no keys at all. */
const RETRY_MS = 1_000;

/** The public keys of whoever issues tokens, fetched when they are needed, and never more often than allowed. */
export class Jwks {
  readonly #options: JwksOptions;
  #keys: KeySet | undefined;
  #fetching: Promise<KeySet> | undefined;
  #triedAt = Number.NEGATIVE_INFINITY;

  constructor(options: JwksOptions) {
    this.#options = options;
  }

  /** @throws LayerUnavailable if there are no keys and they cannot be fetched now */
  readonly getKey: JWTVerifyGetKey = async (header, token) => {
    const keys = await this.#current();
    try {
      return await keys.getKey(header, token);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ERR_JWKS_NO_MATCHING_KEY" || !this.#mayFetch) throw error;
      const newer = await this.#fetch().catch(() => keys);
      return newer.getKey(header, token);
    }
  };

  async #current(): Promise<KeySet> {
    const keys = this.#keys;
    if (keys !== undefined && performance.now() - keys.fetchedAt < this.#options.cacheMs) return keys;
    if (keys !== undefined) {
      // Old ones are better than none.
      return this.#mayFetch ? this.#fetch().catch(() => keys) : keys;
    }
    if (this.#fetching === undefined && !this.#mayFetch) throw unavailable();
    return this.#fetch();
  }

  get #mayFetch(): boolean {
    const { cooldownMs } = this.#options;
    const waitMs = this.#keys === undefined ? Math.min(cooldownMs, RETRY_MS) : cooldownMs;
    return this.#fetching !== undefined || performance.now() - this.#triedAt >= waitMs;
  }

  /** One at a time; whoever comes meanwhile waits for the same. */
  #fetch(): Promise<KeySet> {
    this.#fetching ??= this.#load().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #load(): Promise<KeySet> {
    this.#triedAt = performance.now();
    const { createLocalJWKSet } = await peer("jose", () => import("jose"));
    try {
      const set = await this.#read();
      this.#keys = { getKey: createLocalJWKSet(set), fetchedAt: performance.now() };
      return this.#keys;
    } catch (error) {
      throw unavailable(error);
    }
  }

  async #read(): Promise<JSONWebKeySet> {
    const { url, timeoutMs } = this.#options;
    const given = new AbortController();
    const read = async () => {
      const headers = { accept: "application/jwk-set+json, application/json" };
      const response = await fetch(url, { headers, redirect: "error", signal: given.signal });
      if (response.status !== 200) throw new Error(`the answer was ${response.status}`);
      let [text, bytes] = ["", 0];
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) {
        bytes += (chunk as Uint8Array).byteLength;
        if (bytes > MAX_BYTES) throw new Error("the key set is too large");
        text += decoder.decode(chunk as Uint8Array, { stream: true });
      }
      return JSON.parse(text) as JSONWebKeySet;
    };
    try {
      return await within(timeoutMs, read(), () => new Error(`no answer within ${timeoutMs} ms`));
    } finally {
      given.abort();
    }
  }
}

function unavailable(cause?: unknown): LayerUnavailable {
  return new LayerUnavailable("tokens cannot be checked at present; try again later", { cause });
}
