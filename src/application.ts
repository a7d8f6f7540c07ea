import type { IncomingMessage, ServerResponse } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "./clock.ts";
import { Runner, type RunnerContext } from "./consumer/runner.ts";
import { Users } from "./consumer/users.ts";
import type { Converters } from "./converters.ts";
import { ConfigurationError, Faults, RouteNotFound } from "./errors.ts";
import { type ConnectionFact, createFacts, type Facts, type UnopenedFact } from "./facts.ts";
import type { ChannelLayer, GroupHere, LayerSizes } from "./layer/channel-layer.ts";
import { Claims } from "./layer/claims.ts";
import type { GroupPolicies, PolicyTable } from "./layer/group-policy.ts";
import type { LimitStore } from "./layer/limit-store.ts";
import { Seats } from "./layer/seats.ts";
import { SharedBucket } from "./layer/shared-bucket.ts";
import {
  createLayers,
  DEFAULT_LAYER,
  type LayerOptions,
  leaveProcess,
  planLayers,
  samePlaces,
} from "./layers.ts";
import type { AddedBy, Complete } from "./marks.ts";
import { nearest, printable, ReservedEvent } from "./names.ts";
import { type ApplicationSettings, applicationDefaults, type Given, resolveOptions } from "./options.ts";
import { encodePayload } from "./payload.ts";
import { randomId } from "./random-id.ts";
import type { BusyGroup, PartReadings, Readings } from "./readings.ts";
import { STOPPING } from "./reasons.ts";
import { type Converting, type RouteEntry, Router } from "./router.ts";
import { Seal, Sealer } from "./sealing.ts";
import { Tally } from "./tally.ts";
import { TokenBucket } from "./token-bucket.ts";
import type { Tracer } from "./tracer.ts";
import type {
  Allowances,
  ClientLink,
  Frame,
  FrameCodec,
  Handshake,
  Middleware,
  PartFinding,
  RefillingBudget,
} from "./types.ts";
import { packageVersion } from "./version.ts";

/** What a part is opened with. */
export interface PartContext {
  readonly node: string;
  readonly layer: ChannelLayer;
  readonly signals: Facts;
  /** The application's, for what is signed; may be empty. */
  readonly secrets: readonly string[];
  /** By the application's `encryptionKeys`, for a carrier of the part's own. */
  seal(carrier: UnopenedFact["carrier"], prefix: string | undefined): Seal;
  /** As the application's option says. */
  userId(user: unknown): string | undefined;
  /** How this node stands; see `Application.readings`. */
  readings(): Readings;
  /** See `Application.look`. */
  look(): Promise<void>;
  /** See `Application.busiestGroups`. */
  busiestGroups(count?: number): readonly BusyGroup[];
  /** See `Application.beginTiming`. */
  beginTiming(): void;
  /** What follows messages, if a part does. */
  readonly tracer: Tracer | undefined;
  /** The application itself: its routes, its layers, what it counts. */
  readonly app: Application;
}

/** A consumer that runs here. */
export interface RunningConsumer extends ConnectionFact {
  /** By the application's `userId`, if it is anybody's. */
  readonly user: string | undefined;
  /** Since it came. */
  readonly ageMs: number;
}

/** A group as one node knows it. */
export interface GroupReading extends Pick<GroupHere, "members" | "log"> {
  readonly running: readonly RunningConsumer[];
}

/** What all clients are told, as the event `sluice.notice`. */
export interface Notice {
  /** The same for all routes of one client. */
  readonly id: string;
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Who asks for something over HTTP. */
export interface AskingClient {
  /** As `scope.remoteAddress`: behind trusted proxies what they report. */
  readonly remoteAddress: string;
  /** How many proxies are trusted. */
  readonly trustedProxies: number;
}

/** What lives and ends with an application, and may bring routes and policies of its own: tasks, say. */
export interface ApplicationPart {
  readonly groups?: GroupPolicies;
  /** Follows messages through this application; one part may. */
  readonly tracer?: Tracer;
  /** After the application's own. */
  readonly routes?: readonly RouteEntry[];
  /**
   * When the channel layer is open, one part after the other. What it throws ends the start: it and those before
   * it are closed, and so is the layer.
   */
  open(context: PartContext): Promise<void>;
  /** While clients are told that the server stops, before the channel layer closes. Idempotent. */
  close(withinMs: number): Promise<void>;
  /** Why it does not work as it should, each in a few words that anybody may read. Must not throw. */
  causes?(): readonly string[];
  /** What it adds to the readings of this node, as it knows them in this moment. Must not throw. */
  readings?(): PartReadings;
  /**
   * What `sluice check` is to tell of it, in a process that opens nothing: can what it needs be reached, with the
   * rights that it needs? Leaves nothing behind. Lines that others have said, too, are told once.
   */
  check?(): Promise<readonly PartFinding[]>;
  /** Looks at what it knows of other processes, so that `readings` tells it. Must not reject. */
  look?(): Promise<void>;
  /**
   * Answers an HTTP request before routes and middleware see it, and says whether it does; it guards itself.
   * Of servers, and of the door at which workers tell whether they live. Must not throw.
   */
  answer?(request: IncomingMessage, response: ServerResponse, client: AskingClient): boolean;
}

/**
 * What {@link createApplication} takes; `routes` alone is needed. Faults are told together, as one
 * ConfigurationError.
 */
export interface ApplicationOptions extends LayerOptions, Given<ApplicationSettings> {
  readonly routes: readonly RouteEntry<Record<never, never>, never>[];
  /** Around every route, the first outermost. */
  readonly middleware?: readonly Middleware[];
  /** What patterns may name beside `int`, `slug`, `uuid` and `path`: `:from(year)` for `{ year: ... }`. */
  readonly converters?: Converters;
  /**
   * Further channel layers by name, each with a backplane and groups of its own; a consumer class is on
   * one of them by `static layer = "name"`. All the rest of the options is about the layer `default`.
   */
  readonly layers?: Readonly<Record<string, LayerOptions>>;
  /** What lives with the application beside its routes, e.g. `new Tasks(...)`. */
  readonly parts?: readonly ApplicationPart[];
  /**
   * Signs what clients show when they come back; at least 32 characters, the same on all nodes. Of several
   * the first signs and all are believed. May be left out if the history is this process' own.
   */
  readonly secret?: string | readonly string[];
  /**
   * Encrypt what leaves this process for backplanes, histories, presence stores and workers: 32 random bytes
   * each, in base64, the same on all nodes and workers. The first encrypts and all decrypt, so that keys can be
   * changed in turn; `"clear"` among them takes what is not encrypted, too. Left out: nothing is encrypted.
   */
  readonly encryptionKeys?: string | readonly string[];
  /**
   * Counts what all nodes together allow a user or an address: `connectionsPerUser`, `eventsPerSecondPerUser`,
   * `eventsPerSecondPerAddress`, the server's `connectionsPerAddress` and `handshakesPerSecondPerAddress`, and the
   * middleware `limitConnections`. By default each node counts by itself. While it cannot be reached, they do.
   */
  readonly sharedLimits?: LimitStore;
  /** What others in groups with presence see of a user; small, as JSON. By default nothing. */
  readonly userInfo?: (user: unknown) => unknown;
  /**
   * Who `scope.user` is, as text, for `layer.closeUser`; undefined: nobody. By default a user that is text
   * or a number is itself, and an object is its `id`.
   */
  readonly userId?: (user: unknown) => string | undefined;
  /** For tests: by which users are held who have no connection for a while (`graceMs`). */
  readonly clock?: Clock;
}

const MAX_BUSIEST = 100;
const CUT_OFF = "other nodes cannot be reached";
/** Clients that are told something in one turn of the event loop. */
const TOLD_PER_TURN = 500;
/** More than is asked for at once, which would never be there otherwise. */
const MIN_REPLAY_BURST = 100;

/**
 * Routes, consumers, groups and signals, put together. It knows no sockets: a server
 * (`sluice/server`), or the test kit, brings clients to it.
 */
export class Application {
  /** This node's name: new for each start, so that an old node's messages never reach a new one. */
  readonly node = `n-${randomId(9)}`;
  readonly router: Router;
  /** Where groups and channels are, for all who name no other. */
  readonly layer: ChannelLayer;
  /** All of them by name, `layer` as `default`. */
  readonly layers: ReadonlyMap<string, ChannelLayer>;
  /** The facts of this application's life; connect receivers to hear them. */
  readonly signals: Facts;
  readonly settings: ApplicationSettings;
  /** Whether it has `encryptionKeys`. */
  readonly isEncrypted: boolean;
  /** By the name of the layer. */
  readonly #contexts: ReadonlyMap<string, RunnerContext>;
  readonly #runners = new Set<Runner>();
  readonly parts: readonly ApplicationPart[];
  /** Of the part that has one. @internal */
  readonly tracer: Tracer | undefined;
  /** @internal */
  readonly sharedLimits: LimitStore | undefined;
  /** Of all that has so many connections at once. @internal */
  readonly seats: Seats;
  readonly #ownSeats = new WeakMap<Middleware, Seats>();
  readonly #users: Users;
  readonly #partContext: PartContext;
  /** Whether what is sent leaves this process as well. @internal */
  readonly hasBackplane: boolean;
  /** @internal */
  readonly tally = new Tally();
  readonly #startedAt = Date.now();
  readonly #others = new Set<() => PartReadings>();
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  /** @throws ConfigurationError that lists every fault of the routes and options */
  constructor({
    routes,
    middleware = [],
    converters = {},
    parts = [],
    layers = {},
    backplane,
    userId = usualUserId,
    groups: ownGroups = {},
    history,
    secret = [],
    encryptionKeys = [],
    sharedLimits,
    presence,
    userInfo = () => undefined,
    clock,
    ...options
  }: ApplicationOptions) {
    const faults = new Faults();
    const groups = Object.assign({}, ...parts.map((part) => part.groups), ownGroups) as GroupPolicies;
    const allRoutes = [...routes, ...parts.flatMap((part) => part.routes ?? [])];
    const settings = faults.collect(() => resolveOptions(applicationDefaults, options, "application"));
    const router = faults.collect(() => new Router(allRoutes, middleware, converters));
    const secrets = typeof secret === "string" ? [secret] : secret;
    const own = { backplane, groups, history, presence } as LayerOptions;
    if (Object.hasOwn(layers, DEFAULT_LAYER)) {
      faults.list.push(`layers.${DEFAULT_LAYER}: the options beside \`layers\` are that layer's`);
    }
    const plans = planLayers({ ...layers, [DEFAULT_LAYER]: own }, secrets, faults);
    faults.list.push(...strangeLayers(router, [DEFAULT_LAYER, ...Object.keys(layers)]));
    const sealer = faults.collect(
      () => new Sealer(typeof encryptionKeys === "string" ? [encryptionKeys] : encryptionKeys),
    );
    const [tracer, secondTracer] = parts.flatMap((part) => part.tracer ?? []);
    if (secondTracer !== undefined) faults.list.push("parts: two of them trace; give one tracing()");
    if (sealer?.hasKeys) faults.list.push(...samePlaces(plans));
    if (settings === undefined || router === undefined || !sealer || faults.list.length > 0)
      throw new ConfigurationError(faults.list);
    this.settings = settings;
    this.router = router;
    this.isEncrypted = sealer.hasKeys;
    this.tracer = tracer;
    this.signals = createFacts();
    const { limits, connectTimeoutMs, closeTimeoutMs } = this.settings;
    const { node, signals: facts, tally } = this;
    tally.hear(facts);
    const seal: PartContext["seal"] = (carrier, prefix) => new Seal(sealer, facts, carrier, prefix);
    this.layers = createLayers(plans, {
      node,
      facts,
      limits,
      tally,
      tracer,
      clock,
      seal,
      hasKeys: sealer.hasKeys,
    });
    this.layer = this.layers.get(DEFAULT_LAYER) as ChannelLayer;
    this.hasBackplane = leaveProcess(plans);
    this.parts = parts;
    this.sharedLimits = sharedLimits;
    this.seats = new Seats(node, sharedLimits);
    this.#users = new Users(limits, this.seats, sharedLimits);
    this.#partContext = {
      ...{ node, layer: this.layer, signals: this.signals, secrets, seal, userId, tracer, app: this },
      readings: () => this.readings(),
      look: () => this.look(),
      busiestGroups: (count) => this.busiestGroups(count),
      beginTiming: () => this.beginTiming(),
    };
    const context = {
      userId,
      userInfo,
      closeKeyed: (key: string, code: number, reason: string) => this.closeKeyed(key, code, reason),
      sit: this.sit.bind(this),
      finished: (runner: Runner) => void this.#runners.delete(runner),
      users: this.#users,
      facts: this.signals,
      tally,
      tracer,
      limits: { ...limits, connectTimeoutMs, closeTimeoutMs },
    };
    this.#contexts = new Map(
      [...this.layers].map(([name, layer]) => {
        const { policies } = plans.get(name) as { readonly policies: PolicyTable };
        return [name, { ...context, policies, layer }];
      }),
    );
  }

  /**
   * Opens the channel layer and the parts. A server does this by itself; programs without one call it.
   * Idempotent.
   */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  /**
   * Ends every connection (4503: come back later), waits for their `disconnect` hooks and closes the
   * channel layer. Hooks that hang are given up after `closeTimeoutMs`, and all of them after `withinMs`.
   * Idempotent.
   */
  stop({ withinMs }: { readonly withinMs?: number } = {}): Promise<void> {
    this.#stopped ??= this.#stop(withinMs ?? 2 * this.settings.closeTimeoutMs);
    return this.#stopped;
  }

  /** The path of a named route. */
  url(name: string, params?: Readonly<Record<string, unknown>>): string {
    return this.router.url(name, params);
  }

  /** How many consumers run here, and what the layer keeps for them. All zero when nobody is here. */
  get sizes(): LayerSizes & { readonly connections: number } {
    const sizes = { connections: this.#runners.size, ...this.layer.sizes };
    for (const layer of this.layers.values()) {
      if (layer === this.layer) continue;
      for (const [what, size] of Object.entries(layer.sizes)) sizes[what as keyof LayerSizes] += size;
    }
    return sizes;
  }

  /**
   * How this node stands: plain, frozen numbers. Counting costs next to nothing; a reading looks at every
   * connection, less than a millisecond for a thousand, so take one every second or so.
   */
  readings(): Readings {
    const layers = [...this.layers].map(([name, layer]) => [name, layer.readings] as const);
    const others = [
      ...this.parts.map((part) => part.readings?.()),
      ...[...this.#others].map((read) => read()),
    ];
    const readings: Readings = {
      node: this.node,
      version: packageVersion(),
      startedAt: this.#startedAt,
      takenAt: Date.now(),
      ...this.tally.reading,
      gauges: this.#gauges(),
      layers: Object.freeze(Object.fromEntries(layers)),
    };
    return Object.freeze(Object.assign(readings, ...others) as Readings);
  }

  /** Has its parts look at what they know of other processes (queues, workers), for the next `readings`. */
  async look(): Promise<void> {
    await Promise.all(this.parts.map(async (part) => part.look?.()));
  }

  /**
   * The groups with the most members on this node, the largest first. It looks at all groups here.
   *
   * @param count - at most so many; at most 100
   */
  busiestGroups(count = 10): readonly BusyGroup[] {
    const most = Math.min(count, MAX_BUSIEST);
    let busiest: BusyGroup[] = [];
    for (const [name, layer] of this.layers) {
      for (const [group, members] of layer.groupSizes()) {
        const last = busiest[most - 1];
        if (last !== undefined && members <= last.members) continue;
        busiest.push(Object.freeze({ layer: name, group, members }));
        busiest = busiest.sort((a, b) => b.members - a.members).slice(0, most);
      }
    }
    return Object.freeze(busiest);
  }

  /**
   * From now on, for connections that come, it is measured how long handlers take and how long events and
   * messages wait for them: `readings().timings`. Metrics ask for it.
   */
  beginTiming(): void {
    this.tally.beginTiming();
  }

  /** Adds to the readings until what it returns is called. @internal */
  contribute(read: () => PartReadings): () => void {
    this.#others.add(read);
    return () => void this.#others.delete(read);
  }

  #gauges(): Readings["gauges"] {
    const open = new Map<string, number>();
    const seen = new Set<unknown>();
    let unsettled = 0;
    let waitingBytes = 0;
    let mailboxes = 0;
    for (const runner of this.#runners) {
      if (runner.isOpen) open.set(runner.route, (open.get(runner.route) ?? 0) + 1);
      else unsettled += 1;
      mailboxes += runner.waitingItems;
      const { waitingBytes: bytes } = runner;
      // Most have nothing that waits; of those who have, routes of one connection have the same.
      if (bytes === 0 || seen.has(runner.connection)) continue;
      seen.add(runner.connection);
      waitingBytes += bytes;
    }
    const { groups, logs, presence } = this.sizes;
    const stalePresence = [...this.layers.values()].reduce((sum, layer) => sum + layer.stalePresence, 0);
    return Object.freeze({
      ...{ open: Object.freeze(Object.fromEntries(open)), unsettled, waitingBytes, mailboxes },
      ...{ groups, logs, presence, stalePresence },
    });
  }

  /** Why it does not work as it should, each in a few words that anybody may read; empty if it does. */
  get causes(): readonly string[] {
    const layers = [...this.layers].filter(([, layer]) => layer.isDegraded);
    return [
      ...layers.map(([name]) => (name === DEFAULT_LAYER ? CUT_OFF : `${CUT_OFF} over the layer ${name}`)),
      ...this.parts.flatMap((part) => part.causes?.() ?? []),
    ];
  }

  /** Whether a layer cannot reach its other nodes. */
  get isDegraded(): boolean {
    return [...this.layers.values()].some((layer) => layer.isDegraded);
  }

  /** What groups of the layer `default` keep, by their policies. @internal */
  get needs(): PolicyTable["needs"] {
    return (this.#contexts.get(DEFAULT_LAYER) as RunnerContext).policies.needs;
  }

  /** Whether no consumer has anything to do. @internal */
  get isIdle(): boolean {
    for (const runner of this.#runners) if (!runner.isIdle) return false;
    return true;
  }

  /**
   * A carrier brings a client. The runner is not admitted yet: the carrier calls `admit`.
   *
   * @param allowances - of the client's address; by default its own
   * @throws RouteNotFound
   * @internal
   */
  connect(kind: "socket" | "sse", handshake: Handshake, link: ClientLink, allowances?: Allowances): Runner {
    const auth = "sluice" in handshake.auth ? withoutOurs(handshake.auth) : handshake.auth;
    const claims = link.positionedCodec && Claims.of(handshake.auth.sluice);
    const match = this.router.consumerAt(kind, handshake.namespace);
    if (match === undefined) {
      throw this.notFound(handshake.namespace, handshake.remoteAddress);
    }
    const { params, route } = match;
    const client = { handshake, auth, params, link, claims, allowances: allowances ?? this.allowances() };
    // Every class's layer was looked up when the routes were.
    const context = this.#contexts.get(route.consumer.layer ?? DEFAULT_LAYER) as RunnerContext;
    const runner = new Runner(context, route, client);
    this.#runners.add(runner);
    if (this.#stopped !== undefined) runner.end(STOPPING);
    return runner;
  }

  /** As if its process had been killed: no hook runs, nobody is told. For the test kit. @internal */
  vanish(): Promise<void> {
    for (const runner of this.#runners) runner.vanish();
    this.seats.abandon();
    return this.stop({ withinMs: 0 });
  }

  /** Announces that a client asked for what no route has, and returns the error that says so. @internal */
  notFound(namespace: string, remoteAddress: string): RouteNotFound {
    const error = new RouteNotFound(`no route for "${printable(namespace)}"`);
    const { closeCode: code, message: reason } = error;
    this.signals.denied.announce({ namespace, remoteAddress, code, reason });
    return error;
  }

  /** The consumers that clients talk to here, in the order in which they came. @internal */
  *running(): Iterable<RunningConsumer> {
    for (const runner of this.#runners) if (runner.isOpen) yield runningAs(runner);
  }

  /**
   * A group as this node knows it without asking anybody, and who is in it; undefined where there is no such
   * layer.
   *
   * @param most - members that are told, those that joined last
   * @internal
   */
  groupHere(layer: string, group: string, most: number): GroupReading | undefined {
    const here = this.layers.get(layer)?.groupHere(group, most);
    if (here === undefined) return undefined;
    const { last, ...about } = here;
    const running = last.flatMap((member) => (member instanceof Runner ? [runningAs(member)] : []));
    return { ...about, running };
  }

  /** Tells every client of this node, one by one and a bounded number in each turn. @internal */
  async tellAll(notice: Notice): Promise<void> {
    const event = {
      event: ReservedEvent.notice,
      ...encodePayload(notice, this.settings.limits.maxMessageBytes),
    };
    const frames = new Map<FrameCodec, Frame>();
    let told = 0;
    for (const runner of [...this.#runners]) {
      if (!runner.isOpen) continue;
      const frame = frames.get(runner.codec) ?? runner.codec.encode(event);
      frames.set(runner.codec, frame);
      runner.write(frame);
      told += 1;
      if (told % TOLD_PER_TURN === 0) await nextTurn();
    }
  }

  /** Who a user is, by the option `userId`. */
  userId(user: unknown): string | undefined {
    return this.#partContext.userId(user);
  }

  /** As `layer.closeUser` does, on all layers. */
  async closeUser(user: string, code?: number, reason?: string): Promise<void> {
    await Promise.all([...this.layers.values()].map((layer) => layer.closeUser(user, code, reason)));
  }

  /** Ends all connections with that key (see `ScopeConnection`) on all layers and nodes. @internal */
  async closeKeyed(key: string, code: number, reason: string): Promise<void> {
    await Promise.all([...this.layers.values()].map((layer) => layer.closeKeyed(key, code, reason)));
  }

  /** See `ScopeConnection.sit`. @internal */
  async sit(of: Middleware | string, room: string, seats: number, until: AbortSignal): Promise<boolean> {
    const name = typeof of === "string" ? `named ${of}` : this.router.placeOf(of);
    const seat = await (name === undefined
      ? this.#seatsHere(of as Middleware).take(room, seats)
      : this.seats.take(JSON.stringify([name, room]), seats));
    if (seat === undefined) return false;
    if (until.aborted) seat.leave();
    else until.addEventListener("abort", () => seat.leave(), { once: true });
    return true;
  }

  /** Of middleware that no other node could find. */
  #seatsHere(of: Middleware): Seats {
    const seats = this.#ownSeats.get(of) ?? new Seats(this.node, undefined);
    this.#ownSeats.set(of, seats);
    return seats;
  }

  /** @internal */
  eventBudget(): TokenBucket {
    const { eventsPerSecond } = this.settings.limits;
    return new TokenBucket(eventsPerSecond, eventsPerSecond * 2);
  }

  /** @param address - of whom, as `addressKey` names it; without it they are shared with nobody. @internal */
  allowances(address?: string): Allowances<RefillingBudget> {
    const {
      newGroupsPerSecond,
      replayedPerSecond,
      eventsPerSecondPerAddress: perSecond,
    } = this.settings.limits;
    const burst = Math.max(replayedPerSecond, MIN_REPLAY_BURST);
    const rate = { perSecond, burst: perSecond * 2 };
    const events =
      this.sharedLimits === undefined || address === undefined
        ? new TokenBucket(rate.perSecond, rate.burst)
        : new SharedBucket(this.sharedLimits, `events:address:${address}`, rate);
    return {
      ...(perSecond === 0 ? {} : { events }),
      newGroups: new TokenBucket(newGroupsPerSecond),
      replayed: new TokenBucket(replayedPerSecond, burst),
    };
  }

  async #start(): Promise<void> {
    const layers: ChannelLayer[] = [];
    const parts: ApplicationPart[] = [];
    try {
      await this.sharedLimits?.open();
      for (const layer of this.layers.values()) {
        await layer.open();
        layers.push(layer);
      }
      for (const part of this.parts) {
        parts.push(part);
        await part.open(this.#partContext);
      }
    } catch (error) {
      await this.#settled(parts.map(async (part) => part.close(0)));
      await Promise.all(layers.map((layer) => layer.close()));
      await this.sharedLimits?.close();
      throw error;
    }
    this.signals.started.announce({ node: this.node });
  }

  async #stop(withinMs: number): Promise<void> {
    // A start that failed has said so itself.
    const hasBegun = await this.#started?.then(
      () => true,
      () => false,
    );
    const runners = [...this.#runners];
    for (const runner of runners) runner.end(STOPPING);
    const deadline = setTimeout(() => {
      for (const runner of runners) runner.abandon();
    }, withinMs);
    const parts = this.parts.map(async (part) => part.close(withinMs));
    await Promise.all(runners.map((runner) => runner.finished));
    await this.#settled(parts);
    clearTimeout(deadline);
    await Promise.all([...this.layers.values()].map((layer) => layer.close()));
    await this.seats.close();
    await this.sharedLimits?.close();
    if (hasBegun) this.signals.stopped.announce({ node: this.node });
  }

  /** One that cannot end in order must not keep the others. */
  async #settled(parts: readonly Promise<void>[]): Promise<void> {
    for (const outcome of await Promise.allSettled(parts)) {
      if (outcome.status === "fulfilled") continue;
      this.signals.failed.announce({ hook: "layer", error: outcome.reason });
    }
  }
}

type Unlisted<C> = Omit<ApplicationOptions, "routes" | "middleware" | "converters"> & {
  readonly converters?: C;
};
type Row<C, Wants> = RouteEntry<Converting<C>, Wants>;

/** For options put together elsewhere, whose lists the compiler does not know: the start checks them. */
export function createApplication<O extends ApplicationOptions>(
  options: O & (O extends { readonly middleware?: unknown } ? Unsure<O> : never),
): Application;
/** Without middleware around all routes: what those of the routes need they have themselves. */
export function createApplication<C extends Converters = Record<never, never>>(
  options: Unlisted<C> & { readonly middleware?: never; readonly routes: readonly Row<C, object>[] },
): Application;
/**
 * What typed middleware (see `mark`) needs of others, and consumers of it, is checked by the compiler as far
 * as it knows the lists, and at the start.
 *
 * @throws ConfigurationError that lists every fault of the routes and options
 */
export function createApplication<
  const M extends readonly Middleware[],
  C extends Converters = Record<never, never>,
>(
  options: Unlisted<C> & {
    readonly middleware: M;
    readonly routes: readonly Row<C, AddedBy<M>>[];
  } & Complete<M>,
): Application;
export function createApplication(options: ApplicationOptions): Application {
  return new Application(options);
}

/** Whether the type says that there may be middleware or not. */
type Unsure<O> = "middleware" extends keyof O
  ? Record<never, never> extends Pick<O, "middleware">
    ? unknown
    : never
  : never;

function runningAs({ fact, user, ageMs }: Runner): RunningConsumer {
  const { channel, route, scope } = fact;
  return { channel, route, scope, user, ageMs };
}

/** Consumers on a layer that is not there. */
function strangeLayers(router: Router | undefined, names: readonly string[]): readonly string[] {
  return (router?.routes ?? []).flatMap((route) => {
    if (route.kind === "http") return [];
    const { name, layer } = route.consumer;
    if (layer === undefined || names.includes(layer)) return [];
    const meant = nearest(layer, names);
    const hint = meant === undefined ? `there are ${names.join(", ")}` : `did you mean "${meant}"?`;
    return [`${name}.layer is "${layer}", which is no layer of the application (option layers); ${hint}`];
  });
}

function usualUserId(user: unknown): string | undefined {
  const id = typeof user === "object" && user !== null ? (user as { readonly id?: unknown }).id : user;
  return typeof id === "string" || typeof id === "number" ? String(id) : undefined;
}

/** What a client sent, without the framework's part of it. */
function withoutOurs({ sluice, ...auth }: Handshake["auth"]): Handshake["auth"] {
  return auth;
}
