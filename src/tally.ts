/** What is counted on the way of connections and messages: plain numbers, bumped where the thing happens. */
import type { Facts } from "./facts.ts";
import type { Counts, Readings, SpreadReading } from "./readings.ts";

/** More kinds than this of one thing are counted as one, `other`. */
const MAX_KINDS = 100;

/** How often each of a few things happened. */
export class Kinds {
  readonly #counts = new Map<string, number>();

  add(kind: string, count = 1): void {
    const before = this.#counts.get(kind);
    if (before !== undefined) this.#counts.set(kind, before + count);
    else if (this.#counts.size < MAX_KINDS) this.#counts.set(kind, count);
    else this.#counts.set("other", (this.#counts.get("other") ?? 0) + count);
  }

  get reading(): Counts {
    return Object.freeze(Object.fromEntries(this.#counts));
  }
}

/** Milliseconds: for what is over soon. */
const MOMENTS: readonly number[] = Object.freeze([
  1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000,
]);
/** Milliseconds: for what takes its time. */
export const PERIODS: readonly number[] = Object.freeze([
  10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000,
]);

/** How often something took how long. */
export class Spread {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sumMs = 0;

  /** @param bounds - in milliseconds, ascending */
  constructor(bounds: readonly number[] = MOMENTS) {
    this.#bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  note(ms: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && ms > (this.#bounds[bucket] as number)) bucket += 1;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sumMs += ms;
  }

  get reading(): SpreadReading {
    const counts = Object.freeze([...this.#counts]);
    return Object.freeze({ bounds: this.#bounds, counts, sumMs: this.#sumMs });
  }
}

/** How often each of a few things took how long. */
export class Spreads {
  readonly #spreads = new Map<string, Spread>();
  readonly #bounds: readonly number[] | undefined;

  constructor(bounds?: readonly number[]) {
    this.#bounds = bounds;
  }

  of(kind: string): Spread {
    const name = this.#spreads.size < MAX_KINDS || this.#spreads.has(kind) ? kind : "other";
    const known = this.#spreads.get(name);
    if (known !== undefined) return known;
    const made = new Spread(this.#bounds);
    this.#spreads.set(name, made);
    return made;
  }

  get reading(): Readonly<Record<string, SpreadReading>> {
    return Object.freeze(
      Object.fromEntries([...this.#spreads].map(([kind, { reading }]) => [kind, reading])),
    );
  }
}

/** What a route's handlers and mailboxes are timed by. */
export interface RouteTimings {
  readonly handled: Spread;
  readonly waited: Spread;
}

/** Of one application, from its start on. */
export class Tally {
  /** Events of clients that were let through to their handlers. */
  received = 0;
  /** Messages and events that this node sent to groups. */
  sentToGroups = 0;
  /** Messages that this node sent to single channels. */
  sentToChannels = 0;
  /** Events and questions that consumers sent to their own clients. */
  sentToClients = 0;
  /** Events of groups to clients here, one for each. */
  deliveredToClients = 0;
  /** Messages of groups to consumers here, one for each. */
  deliveredToConsumers = 0;
  /** Texts handed to the backplane, and heard from it. */
  published = 0;
  heard = 0;
  /** Writes to Socket.IO clients: one holds all that a client gets within a turn of the event loop. */
  writes = 0;
  writtenBytes = 0;
  /** Messages appended to histories by this node. */
  appended = 0;
  /** Messages that were not announced to this node and that it has read from a history. */
  healed = 0;
  readonly accepted = new Kinds();
  readonly ended = new Kinds();
  readonly denied = new Kinds();
  readonly refused = new Kinds();
  readonly dropped = new Kinds();
  readonly limited = new Kinds();
  readonly failed = new Kinds();
  readonly gaps = new Kinds();
  readonly presence = new Kinds();
  readonly unopened = new Kinds();
  lost = 0;
  recovered = 0;
  replayed = 0;
  /** How long things take, by route; only while somebody wants to know. */
  #timings: { readonly handled: Spreads; readonly waited: Spreads } | undefined;

  /** Counts what is announced anyway, and rare. */
  hear(facts: Facts): void {
    facts.denied.connect(({ code }) => this.denied.add(String(code)));
    facts.refused.connect(({ code }) => this.refused.add(code));
    facts.dropped.connect(({ cause, count }) => this.dropped.add(cause, count));
    facts.limited.connect(({ limit }) => this.limited.add(limit));
    facts.failed.connect(({ hook }) => this.failed.add(hook));
    facts.gap.connect(({ reason }) => this.gaps.add(reason));
    facts.present.connect(({ type }) => this.presence.add(type));
    facts.unopened.connect(({ carrier }) => this.unopened.add(carrier));
    facts.lost.connect(({ missed }) => {
      this.lost += missed ?? 1;
    });
    facts.recovered.connect(({ messages }) => {
      this.recovered += 1;
      this.replayed += messages;
    });
  }

  /** From now on it is measured how long handlers take, and how long events and messages wait for them. */
  beginTiming(): void {
    this.#timings ??= { handled: new Spreads(), waited: new Spreads() };
  }

  /** Undefined: nobody wants to know. */
  timingsOf(route: string): RouteTimings | undefined {
    if (this.#timings === undefined) return undefined;
    return { handled: this.#timings.handled.of(route), waited: this.#timings.waited.of(route) };
  }

  get reading(): Pick<Readings, "counters" | "timings"> {
    const { received, sentToGroups, sentToChannels, sentToClients } = this;
    const { deliveredToClients, deliveredToConsumers } = this;
    const { published, heard, writes, writtenBytes, appended, healed, lost, recovered, replayed } = this;
    return {
      counters: Object.freeze({
        accepted: this.accepted.reading,
        ended: this.ended.reading,
        denied: this.denied.reading,
        received,
        refused: this.refused.reading,
        limited: this.limited.reading,
        failed: this.failed.reading,
        sentToGroups,
        sentToChannels,
        sentToClients,
        deliveredToClients,
        deliveredToConsumers,
        published,
        heard,
        lost,
        dropped: this.dropped.reading,
        unopened: this.unopened.reading,
        writes,
        writtenBytes,
        appended,
        healed,
        gaps: this.gaps.reading,
        recovered,
        replayed,
        presence: this.presence.reading,
      }),
      ...(this.#timings && {
        timings: Object.freeze({
          handled: this.#timings.handled.reading,
          waited: this.#timings.waited.reading,
        }),
      }),
    };
  }
}
