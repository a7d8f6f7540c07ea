/**
 * Publishing over HTTP, for programs in other languages: a door to `groupEmit` alone, behind keys that
 * say which groups they are for.
 */
import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import express, { type ErrorRequestHandler, type Request, type Response, type Router } from "express";
import {
  AddressBuckets,
  type ChannelLayer,
  CloseCode,
  ConfigurationError,
  encodePayload,
  type Facts,
  Faults,
  type Given,
  InvalidMessage,
  isForClient,
  printable,
  resolveOptions,
  TokenBucket,
  Unencodable,
} from "../index.ts";
import { addressOf } from "./address-of.ts";
import { type Answer, batchAnswer, eventAnswer, type Outcome, refusalAnswer, send } from "./answers.ts";
import { Body, Gone } from "./body.ts";
import { type PublishedEvent, parseJson, readBatch, readEvent } from "./events.ts";
import { checkMediaType, idempotencyKeyOf, keyTextOf } from "./headers.ts";
import { KeyRing, type KnownKey, type PublishingKey } from "./keys.ts";
import { OnceTable } from "./once-table.ts";
import { Refused, tooMuch } from "./refused.ts";

export const publishingDefaults = {
  /** How long a request's body may take to arrive. */
  bodyTimeoutMs: 10_000,
  /** How long an `Idempotency-Key` and the `id` of an event are remembered. */
  idempotencyTtlMs: 3_600_000,
  /** All per client (the keys of one name), unless they say otherwise. */
  limits: {
    /** Bytes of one request's body. */
    bodyBytes: 1_048_576,
    eventsPerBatch: 100,
    /** Requests per second; as many again in a burst. */
    requestsPerSecond: 100,
    /** Events per second; as many again in a burst, and a whole batch at least. */
    eventsPerSecond: 500,
    /** Requests that may run at once. */
    concurrentRequests: 32,
    /** Answers remembered by their `Idempotency-Key`, and (apart from these) events by their `id`. */
    remembered: 10_000,
    /** Bytes of what is remembered of either. */
    rememberedBytes: 4_194_304,
    /** Requests without a valid key that one address may send per minute. */
    wrongKeysPerMinute: 30,
  },
};

/** Settings of {@link publishing}, with nothing left out. */
export type PublishingSettings = typeof publishingDefaults;

/** What {@link publishing} takes: where events go, and who may send them. */
export interface PublishingOptions extends Given<PublishingSettings> {
  /** Where the events go: `app.layer`. */
  readonly layer: Pick<ChannelLayer, "groupEmit" | "isDegraded"> & Partial<Pick<ChannelLayer, "tracer">>;
  /** Who may publish what; several keys may be valid at once. See `createPublishingKey`. */
  readonly keys: readonly PublishingKey[];
  /**
   * `app.signals`, so that refused keys and groups are announced as `denied` and bugs as `failed`.
   * Without it a bug is a warning of the process.
   */
  readonly signals?: Pick<Facts, "denied" | "failed">;
}

/**
 * An Express router with `POST /groups/:group/events` and `POST /events` (a batch). Other paths go on.
 * An answer of 202 means: handed over to the channel layer of this node, as when `groupEmit` resolves.
 * Events of one request keep their order.
 *
 * @example
 * server.express.use("/api", publishing({ layer: app.layer, signals: app.signals, keys }));
 *
 * @throws ConfigurationError that lists every fault of the options and keys
 */
export function publishing(options: PublishingOptions): Router {
  const door = new Door(options);
  const router = express.Router({ caseSensitive: true, strict: true });
  router.post("/groups/:group/events", (request, response, next) => {
    door.handle(request, response, String(request.params.group)).catch(next);
  });
  router.post("/events", (request, response, next) => {
    door.handle(request, response, undefined).catch(next);
  });
  router.all(["/groups/:group/events", "/events"], (_request, response) => {
    const refusal = new Refused(405, "method_not_allowed", "publish with POST", {
      headers: { Allow: "POST" },
    });
    send(response, refusalAnswer(refusal));
  });
  router.use(unreadableAddress);
  return router;
}

/** Express cannot decode a group such as `%zz`. */
const unreadableAddress: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (!(error instanceof URIError)) return next(error);
  send(
    response,
    refusalAnswer(new InvalidMessage("the group in the address is not encoded as addresses are")),
  );
};

/** Events of a batch that go out in one turn of the event loop. */
const EVENTS_PER_TURN = 16;

/** What is counted and remembered of one client. */
class Client {
  readonly requests: TokenBucket;
  readonly events: TokenBucket;
  readonly answers: OnceTable<Answer>;
  readonly published: OnceTable<true>;
  running = 0;

  constructor({ idempotencyTtlMs: ttlMs, limits }: PublishingSettings) {
    const { requestsPerSecond, eventsPerSecond, eventsPerBatch } = limits;
    this.requests = new TokenBucket(requestsPerSecond, requestsPerSecond * 2);
    this.events = new TokenBucket(eventsPerSecond, Math.max(eventsPerSecond * 2, eventsPerBatch));
    const bounds = { maxEntries: limits.remembered, maxBytes: limits.rememberedBytes, ttlMs };
    this.answers = new OnceTable({
      ...bounds,
      what: "Idempotency-Key",
      bytesOf: ({ body }) => body.length,
      isKept: ({ isKept }) => isKept,
    });
    this.published = new OnceTable({
      ...bounds,
      what: "id",
      bytesOf: () => 0,
      isKept: () => true,
    });
  }
}

class Door {
  readonly #layer: PublishingOptions["layer"];
  readonly #signals: PublishingOptions["signals"];
  readonly #settings: PublishingSettings;
  readonly #keys: KeyRing;
  /** How many requests without a valid key each address may have. */
  readonly #wrongKeys: AddressBuckets;
  readonly #clients: ReadonlyMap<string, Client>;

  constructor({ layer, signals, keys, ...options }: PublishingOptions) {
    const faults = new Faults();
    if (typeof layer?.groupEmit !== "function") {
      faults.list.push("publishing.layer must be a channel layer: app.layer");
    }
    const settings = faults.collect(() => resolveOptions(publishingDefaults, options, "publishing"));
    const ring = faults.collect(() => new KeyRing(keys));
    if (settings === undefined || ring === undefined || faults.list.length > 0) {
      throw new ConfigurationError(faults.list);
    }
    this.#layer = layer;
    this.#signals = signals;
    this.#settings = settings;
    this.#keys = ring;
    const { wrongKeysPerMinute } = settings.limits;
    this.#wrongKeys = new AddressBuckets(wrongKeysPerMinute / 60, wrongKeysPerMinute);
    this.#clients = new Map([...ring.names].map((name) => [name, new Client(settings)]));
  }

  /** Answers; rejects only for what is not for the client. */
  async handle(request: Request, response: Response, group: string | undefined): Promise<void> {
    const { bodyTimeoutMs, limits } = this.#settings;
    const body = new Body(request, response, limits.bodyBytes, bodyTimeoutMs);
    try {
      send(response, await this.#answer(request, body, group));
    } catch (error) {
      if (error instanceof Gone) return;
      if (!isForClient(error)) throw error;
      send(response, refusalAnswer(error));
    }
  }

  async #answer(request: Request, body: Body, group: string | undefined): Promise<Answer> {
    const key = this.#authenticate(request);
    const { tracer } = this.#layer;
    if (tracer === undefined) return this.#answerFor(key, request, body, group);
    const { method, headers, baseUrl } = request;
    const route = `${baseUrl}${group === undefined ? "/events" : "/groups/:group/events"}`;
    return tracer.publishes({ method, route, headers }, () => this.#answerFor(key, request, body, group));
  }

  async #answerFor(key: KnownKey, request: Request, body: Body, group: string | undefined): Promise<Answer> {
    const client = this.#clients.get(key.name) as Client;
    const { concurrentRequests } = this.#settings.limits;
    if (!client.requests.take()) throw tooMuch("too many requests", client.requests.waitMs());
    if (client.running >= concurrentRequests) throw tooMuch("too many requests at once", 1_000);
    client.running += 1;
    try {
      if (group !== undefined) this.#checkScope(key, group, request);
      checkMediaType(request);
      const name = idempotencyKeyOf(request);
      const bytes = await body.read();
      const run = () => this.#publishBody(request, client, key, bytes, group);
      if (name === undefined) return await run();
      const fingerprint = sha256(`${group ?? ""}\n`, bytes);
      const { value, isReplay } = await client.answers.once(name, fingerprint, run);
      return isReplay ? { ...value, headers: { ...value.headers, "Idempotent-Replayed": "true" } } : value;
    } finally {
      client.running -= 1;
    }
  }

  #authenticate(request: Request): KnownKey {
    const text = keyTextOf(request);
    const key = text === undefined ? undefined : this.#keys.find(text);
    if (key !== undefined && !key.hasExpired) return key;

    const waitMs = this.#wrongKeys.take(addressOf(request));
    if (waitMs > 0) throw tooMuch("too many requests without a valid key from this address", waitMs);
    const why =
      text === undefined
        ? "send your key as Authorization: Bearer <key>"
        : key === undefined
          ? "this key is not valid here"
          : "this key has expired";
    this.#announceDenied(request, CloseCode.unauthenticated, key ? `${why}: ${key.name}` : why);
    const challenge = `Bearer realm="publishing"${text === undefined ? "" : ', error="invalid_token"'}`;
    throw new Refused(401, "unauthenticated", why, { headers: { "WWW-Authenticate": challenge } });
  }

  #checkScope(key: KnownKey, group: string, request: Request): void {
    if (key.allows(group)) return;
    const what = `may not publish to "${printable(group)}"`;
    this.#announceDenied(request, CloseCode.forbidden, `the key "${key.name}" ${what}`);
    throw new Refused(403, "forbidden", `this key ${what}`);
  }

  async #publishBody(
    request: Request,
    client: Client,
    key: KnownKey,
    bytes: Buffer,
    group: string | undefined,
  ): Promise<Answer> {
    const { eventsPerBatch } = this.#settings.limits;
    const json = parseJson(bytes);
    const values = group === undefined ? readBatch(json) : [json];
    if (values.length > eventsPerBatch) {
      throw new Refused(413, "too_many_events", `a batch may have at most ${eventsPerBatch} events`);
    }
    if (!client.events.take(values.length)) {
      throw tooMuch("too many events", client.events.waitMs(values.length));
    }
    const seen = new Set<string>();
    const outcomes: Outcome[] = [];
    for (let i = 0; i < values.length; i += EVENTS_PER_TURN) {
      if (i > 0) await nextTurn();
      const turn = values.slice(i, i + EVENTS_PER_TURN).map((value) => {
        return this.#publish(request, client, key, () => unique(readEvent(value, group), seen));
      });
      outcomes.push(...(await Promise.all(turn)));
    }
    const { isDegraded } = this.#layer;
    return group === undefined
      ? batchAnswer(outcomes, isDegraded)
      : eventAnswer(outcomes[0] as Outcome, isDegraded);
  }

  /** Begins at once, so that events keep their order; never rejects. */
  async #publish(
    request: Request,
    client: Client,
    key: KnownKey,
    read: () => PublishedEvent,
  ): Promise<Outcome> {
    let named: { id?: string } = {};
    try {
      const { group, event, payload, except, id } = read();
      if (id !== undefined) named = { id };
      this.#checkScope(key, group, request);
      // In a group with history every node knows the id, and for some minutes this table is not needed.
      const once = id === undefined ? {} : { idempotencyKey: `${key.name} ${id}` };
      const emit = () => this.#layer.groupEmit(group, event, payload, { except, ...once });
      if (id === undefined) {
        await emit();
        return { accepted: true };
      }
      const { json } = encodePayload(payload, Number.POSITIVE_INFINITY);
      const fingerprint = sha256(JSON.stringify([event, except]), json);
      const { isReplay } = await client.published.once(`${group} ${id}`, fingerprint, async () => {
        await emit();
        return true;
      });
      return isReplay ? { ...named, accepted: true, duplicate: true } : { ...named, accepted: true };
    } catch (error) {
      // It came as JSON, so only its depth can be wrong.
      const known = error instanceof Unencodable ? new InvalidMessage(error.message) : error;
      if (!isForClient(known)) this.#report(known);
      return { ...named, accepted: false, error: known };
    }
  }

  #announceDenied(request: Request, code: number, reason: string): void {
    this.#signals?.denied.announce({
      namespace: request.baseUrl + request.path,
      remoteAddress: addressOf(request),
      code,
      reason,
    });
  }

  #report(error: unknown): void {
    if (this.#signals !== undefined) this.#signals.failed.announce({ hook: "http", error });
    else process.emitWarning(error instanceof Error ? error : String(error));
  }
}

/** @throws InvalidMessage for an id that came before */
function unique(event: PublishedEvent, seen: Set<string>): PublishedEvent {
  if (event.id === undefined) return event;
  const name = `${event.group} ${event.id}`;
  if (seen.has(name)) throw new InvalidMessage("another event of this batch has the same group and id");
  seen.add(name);
  return event;
}

function sha256(...parts: readonly (string | Buffer)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("base64url");
}
