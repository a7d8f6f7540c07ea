/**
 * The same consumers over Server-Sent Events (HTML standard, section 9.2): `GET` opens a stream, whose
 * first event `sluice.open` brings the connection's key; `POST` with that key in the header
 * `Sluice-Connection` and `{ "event", "payload" }` as JSON sends an event, and the answer to the `POST`
 * is the acknowledgement. Any node may get the `POST`; the node of the connection answers it.
 * Where the client is in groups with history stands in the `id` of events: it goes on there.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import express, { type Request, type RequestHandler, type Response, Router } from "express";
import type { Application } from "../application.ts";
import type { Runner } from "../consumer/runner.ts";
import {
  CloseCode,
  ConnectionDenied,
  InvalidMessage,
  InvalidName,
  RateLimited,
  Refusal,
  statusOf,
} from "../errors.ts";
import type { ConnectionFact } from "../facts.ts";
import { checkChannelName, nodeOf, ReservedEvent } from "../names.ts";
import type { ServerSettings } from "../options.ts";
import type { Origins } from "../origins.ts";
import { inlineBinary } from "../payload.ts";
import { AGED, connectionLost, STOPPING, TOO_SLOW } from "../reasons.ts";
import type { ConsumerRoute, Match } from "../router.ts";
import { carrierOf, type TraceCarrier } from "../tracer.ts";
import type { Budget, ClientLink, Frame, FrameCodec, OutgoingEvent, Scope } from "../types.ts";
import type { Addresses } from "./addresses.ts";
import type { HandshakeHeaders } from "./arrivals.ts";
import { atAge, type Carrier } from "./draining.ts";
import { isGone, onGone } from "./gone.ts";
import { fail, refuseBody, requestScope, sendError } from "./http.ts";
import { handshakeOf } from "./scope.ts";
import { isSilent, newsIn, type PlaceNews, StreamPlaces } from "./stream-places.ts";

const OPEN = "sluice.open";
const KEY_HEADER = "sluice-connection";
/** How soon a browser comes back by itself, more or less. */
const RETRY_MS = 1_000;
const POST_TIMEOUT_MS = 15_000;
const POST_VERB = "sse.post";

interface StreamFrame extends Frame {
  /** Empty if it has news alone. */
  readonly text: string;
  readonly news?: PlaceNews | undefined;
}

const codec: FrameCodec<StreamFrame> = {
  encode(event: OutgoingEvent) {
    // JSON has no raw line breaks, and names of events no control characters.
    const text = `event: ${event.event}\ndata: ${inlineBinary(event)}\n\n`;
    return { text, bytes: Buffer.byteLength(text) };
  },
};

const positionedCodec: FrameCodec<StreamFrame> = {
  encode(event: OutgoingEvent) {
    const { text, bytes } = isSilent(event.event) ? { text: "", bytes: 0 } : codec.encode(event);
    return { text, bytes, news: newsIn(event) };
  },
};

class StreamLink implements ClientLink<StreamFrame> {
  readonly codec = codec;
  readonly positionedCodec = positionedCodec;
  readonly events: Budget;
  readonly #places: StreamPlaces;
  readonly #response: Response;
  readonly #maxWaitingBytes: number;
  readonly #closeTimeoutMs: number;
  readonly #onSlow: () => void;

  constructor(response: Response, places: StreamPlaces, app: Application, onSlow: () => void) {
    this.#response = response;
    this.#places = places;
    this.events = app.eventBudget();
    this.#maxWaitingBytes = app.settings.limits.maxWaitingBytes;
    this.#closeTimeoutMs = app.settings.closeTimeoutMs;
    this.#onSlow = onSlow;
  }

  get waitingBytes(): number {
    return this.#response.writableLength;
  }

  write({ text, bytes, news }: StreamFrame): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    if (this.#response.writableLength + bytes > this.#maxWaitingBytes) return this.#onSlow();
    // An id alone, and an empty line, is noted by the client without a word.
    const id = news === undefined ? "" : this.#places.idAfter(news);
    this.#response.write(id + (text || "\n"));
  }

  async ask(): Promise<unknown> {
    throw new InvalidMessage("a client over Server-Sent Events cannot be asked; send it an event instead");
  }

  close(code: number, reason: string): void {
    this.write(
      codec.encode({ event: ReservedEvent.close, json: JSON.stringify({ code, reason }), attachments: [] }),
    );
    this.#response.end();
    // A client that does not read would keep it for ever.
    this.#response.setTimeout(this.#closeTimeoutMs, () => this.#response.destroy());
  }
}

interface Stream {
  readonly runner: Runner;
  readonly secret: Buffer;
  /** What answers the `POST`s that still wait for a handler, should the connection end first. */
  readonly waiting: Set<() => void>;
}

/** What one node asks of another when it got the `POST` of the other's client. */
interface PostBody {
  readonly channel: string;
  readonly secret: string;
  readonly path: string;
  readonly user: string;
  readonly event: string;
  readonly payload: unknown;
  /** As the request's headers said it. */
  readonly trace?: TraceCarrier;
}

interface PostAnswer {
  readonly status: number;
  readonly body?: unknown;
}

export interface StreamOptions {
  readonly app: Application;
  readonly addresses: Addresses;
  /** Why no new stream is taken from this client, if it comes too soon after others. */
  tooMany(request: IncomingMessage): Promise<string | undefined>;
  readonly origins: Origins;
  readonly settings: ServerSettings;
  readonly headers: HandshakeHeaders;
  /** Whether no new stream is taken, because the server is stopping. */
  readonly isLeaving: () => boolean;
}

export class StreamCarrier implements Carrier {
  readonly #options: StreamOptions;
  readonly #streams = new Map<string, Stream>();
  /** An Express router for all `sse` routes; what none of them matches goes on. */
  readonly handler: RequestHandler;

  constructor(options: StreamOptions) {
    this.#options = options;
    const { app, settings } = options;
    app.layer.requests.handle(POST_VERB, (body) => this.#receive(body as PostBody));
    const json = express.json({ limit: settings.limits.maxPayloadBytes, strict: true });
    const router = Router();
    router.use((request, response, next) => {
      const match = app.router.consumerAt("sse", request.path);
      if (match === undefined) return next();
      if (!this.#checkOrigin(request, response)) return undefined;
      if (request.method === "GET") return this.#get(request, response);
      if (request.method === "POST") {
        return json(request, response, (error) => {
          if (!error) void this.#post(match, request, response);
          // Not left to the handlers of others, who would not tell.
          else if (!refuseBody(app, error, request, response, settings.trustedProxies)) next(error);
        });
      }
      return void response.status(405).set("Allow", "GET, POST, OPTIONS").end();
    });
    this.handler = router;
  }

  get size(): number {
    return this.#streams.size;
  }

  goodbyes(): readonly (() => void)[] {
    const runners = [...this.#streams.values()].map(({ runner }) => runner);
    return runners.map((runner) => () => runner.end(STOPPING));
  }

  /** The same rule as for sockets. Says whether the request may go on. */
  #checkOrigin(request: Request, response: Response): boolean {
    const { origin, host, "sec-fetch-site": site } = request.headers;
    response.vary("Origin");
    if (!this.#options.origins.allows(origin, host, site)) {
      sendError(response, new ConnectionDenied(CloseCode.forbidden, "this origin may not connect"));
      return false;
    }
    if (origin !== undefined && this.#options.origins.allowsCross(origin)) {
      response.set("Access-Control-Allow-Origin", origin);
      // With "*" anybody's page may connect, but not as the user whose cookies the browser holds.
      if (!this.#options.origins.allowsAll) response.set("Access-Control-Allow-Credentials", "true");
    }
    if (request.method !== "OPTIONS") return true;
    const headers = {
      "Access-Control-Allow-Methods": "GET, POST",
      "Access-Control-Allow-Headers": `content-type, last-event-id, ${KEY_HEADER}`,
    };
    response.status(204).set(headers).end();
    return false;
  }

  async #get(request: Request, response: Response): Promise<void> {
    // Gone before it was our turn: nothing would tell us again.
    if (isGone(response)) return;
    const { app, addresses, settings, isLeaving, tooMany } = this.#options;
    if (isLeaving()) return sendError(response, new ConnectionDenied(STOPPING.code, STOPPING.message));
    const refusal = await tooMany(request);
    if (response.destroyed) return;
    if (refusal !== undefined) return sendError(response.set("Retry-After", "1"), new RateLimited(refusal));
    const places = new StreamPlaces(request.headers["last-event-id"]);
    const auth = { sluice: places.greeting };
    const handshake = handshakeOf(request, "sse", request.path, auth, settings.trustedProxies);
    const { remoteAddress } = handshake;
    const place = await addresses.enter(remoteAddress);
    if (place === undefined) {
      app.signals.limited.announce({ limit: "connectionsPerAddress", remoteAddress });
      return sendError(
        response,
        new RateLimited("too many connections from this address", "connectionsPerAddress"),
      );
    }
    onGone(response, () => place.leave());
    if (isGone(response)) return;
    const cut = () => {
      runner.lost(TOO_SLOW);
      response.destroy();
    };
    const link = new StreamLink(response, places, app, cut);
    const runner = app.connect("sse", handshake, link, place.allowances);
    onGone(response, () => runner.lost(connectionLost("stream closed")));
    try {
      await runner.admit();
    } catch (error) {
      return sendError(response, error);
    }
    if (isGone(response)) return;
    this.#open(runner, link, response);
  }

  #open(runner: Runner, link: StreamLink, response: Response): void {
    const secret = randomBytes(24);
    const { channel } = runner;
    const waiting = new Set<() => void>();
    this.#streams.set(channel, { runner, secret, waiting });
    void runner.finished.then(() => {
      for (const give of waiting) give();
    });
    response.writeHead(200, {
      ...this.#options.headers(response.req),
      "Content-Type": "text/event-stream",
      "Cache-Control": "no-cache, no-transform",
      // nginx would collect the events otherwise.
      "X-Accel-Buffering": "no",
    });
    // Browsers would wait for three seconds or more; and after a crash not all come back in one moment.
    response.write(`retry: ${Math.round(RETRY_MS * (0.5 + Math.random()))}\n\n`);
    const key = JSON.stringify({ connection: `${channel}.${secret.toString("base64url")}` });
    response.write(`event: ${OPEN}\ndata: ${key}\n\n`);
    // A remark, so that proxies keep the stream open and a client that went is noticed.
    const heartbeat = setInterval(() => {
      if (!response.writableEnded) response.write(": \n\n");
    }, this.#options.settings.pingIntervalMs);
    const forgetAge = atAge(this.#options.settings.maxAgeMs, () => runner.end(AGED));
    onGone(response, () => {
      clearInterval(heartbeat);
      forgetAge();
      this.#streams.delete(channel);
    });
    runner.opened();
    if (runner.reason !== undefined) link.close(runner.reason.code, runner.reason.message);
  }

  async #post({ route, params }: Match<ConsumerRoute>, request: Request, response: Response): Promise<void> {
    const { app, settings } = this.#options;
    let about: Omit<ConnectionFact, "channel"> | undefined;
    try {
      const { event, payload } = bodyOf(request);
      const { channel, secret } = keyOf(request);
      const handshake = handshakeOf(request, "sse", request.path, {}, settings.trustedProxies);
      let user = "";
      const scope = requestScope(app, handshake, params, request, response);
      about = { route: route.pattern, scope };
      await route.admit(scope, async (admitted) => {
        user = this.#userKey(admitted);
      });
      const trace = carrierOf(request.headers);
      const post: PostBody = {
        channel,
        secret,
        path: request.path,
        user,
        event,
        payload,
        ...(trace && { trace }),
      };
      const node = nodeOf(channel);
      const answer =
        node === app.node
          ? await this.#receive(post)
          : ((await app.layer.requests.ask(node, POST_VERB, post, POST_TIMEOUT_MS)) as PostAnswer);
      response.status(answer.status);
      if (answer.body === undefined) response.end();
      else response.json(answer.body);
    } catch (error) {
      fail(app, response, error, about);
    }
  }

  /** The user that a connection is bound to, as text; users are the same when their id is. */
  #userKey({ user }: Scope): string {
    return JSON.stringify([this.#options.app.userId(user) ?? user ?? null]);
  }

  /** On the node of the connection. A wrong key, another path and a foreign user look like a connection that is gone. */
  async #receive({ channel, secret, path, user, event, payload, trace }: PostBody): Promise<PostAnswer> {
    const stream = this.#streams.get(channel);
    const given = Buffer.from(secret, "base64url");
    if (
      !stream?.runner.isOpen ||
      given.length !== stream.secret.length ||
      !timingSafeEqual(given, stream.secret) ||
      stream.runner.scope.namespace !== path ||
      this.#userKey(stream.runner.scope) !== user
    ) {
      return GONE;
    }
    const { runner, waiting } = stream;
    return new Promise((resolve) => {
      const give = () => resolve(GONE);
      waiting.add(give);
      runner.receive(event, trace === undefined ? [payload] : [payload, trace], (answer) => {
        waiting.delete(give);
        resolve(answerOf(answer));
      });
    });
  }
}

const GONE: PostAnswer = {
  status: 410,
  body: {
    error: { code: "connection_closed", message: "there is no such connection (any more); open a new one" },
  },
};

function bodyOf(request: Request): { event: string; payload: unknown } {
  if (!request.is("application/json")) throw new InvalidMessage("send JSON, as application/json");
  const body = request.body as { event?: unknown; payload?: unknown } | undefined;
  if (typeof body?.event !== "string") throw new InvalidMessage('send { "event": "name", "payload": ... }');
  return { event: body.event, payload: body.payload };
}

function keyOf(request: Request): { channel: string; secret: string } {
  const key = request.get(KEY_HEADER) ?? "";
  const dot = key.lastIndexOf(".");
  try {
    return { channel: checkChannelName(key.slice(0, dot)), secret: key.slice(dot + 1) };
  } catch (error) {
    if (!(error instanceof InvalidName)) throw error;
    throw new InvalidMessage(`send the connection's key from the event ${OPEN} in the header ${KEY_HEADER}`);
  }
}

function answerOf(answer: unknown): PostAnswer {
  if (answer === undefined) return { status: 204 };
  if (answer instanceof Refusal && answer.error.code === "connection_closed") return GONE;
  return { status: answer instanceof Refusal ? statusOf(answer.closeCode) : 200, body: answer };
}
