/**
 * Groups with history: every member sees every message once, in one order for all, or is told of the gap.
 * What counts is what came over the wire, before any client drops what it has seen.
 */
import type { ClientRecord, Entry, Place, Publish, Records, Verdict } from "./records.ts";

const MAX_TOLD = 200;
const FAILOVER_MS = 20_000;
/** Entries of the same group that are told with a fault. */
const SHOWN_BEFORE = 5;
/** Of these it is known how far they reach; the others say that something is missing. */
const MEASURED = new Set(["trimmed", "too_old"]);

interface Gap {
  readonly at: number;
  readonly reason: string;
  readonly from: Place | undefined;
  readonly to: Place;
}

/** From joining until leaving, however often the connection is lost in between. */
interface Stay {
  readonly since: number;
  place: Place | undefined;
  /** How many messages it may still get of those before it came, without what was told of presence between them. */
  old: number;
  /** Where it is after the last hole that was left to it; what a handler sends comes in parts. */
  leftOutTo: Place | undefined;
  /** A newcomer begins with what is kept of the last messages. */
  isNewcomer: boolean;
  /** It was lost, and the new one has not been told where it goes on. */
  isInterrupted: boolean;
  /** The gap that was told last, until it is told where the log goes on. */
  hasGap: boolean;
  part: { readonly offset: number; readonly part: number } | undefined;
  readonly gaps: Gap[];
  readonly seen: Set<number>;
  /** The logs that it has been in. */
  readonly epochs: Set<string>;
  isLeaving: boolean;
  /** It has asked to join again before it was told that it had left. */
  comesAgain: boolean;
}

export function judgeLogged(records: Records): Verdict {
  const judge = new LoggedJudge(records);
  return judge.verdict();
}

class LoggedJudge {
  readonly #records: Records;
  readonly #publishes: ReadonlyMap<number, Publish>;
  readonly #broken: string[] = [];
  /** What stands where, as anybody saw it. */
  readonly #byPlace = new Map<string, number>();
  /** By client and group. */
  readonly #leftAt = new Map<string, number>();
  #client = "";
  /** When what is looked at happened. */
  #at = 0;
  readonly #tidings = new Map<string, string>();
  /** Offsets that were given out twice, as after a failover. */
  readonly #forked = new Set<string>();
  readonly #offsets = new Map<string, string>();
  readonly #places = new Map<number, { readonly key: string; readonly place: Place }>();
  /** Holes of newcomers, who are not told who came and left before them. */
  readonly #leftOut: { what: string; group: string; from: Place; to: Place; at: number }[] = [];
  readonly #figures = {
    deliveries: 0,
    complete: 0,
    gaps: 0,
    recoveries: 0,
    coveredByGap: 0,
    forgottenByRedis: 0,
    unheard: 0,
  };
  readonly #reasons = new Map<string, number>();

  constructor(records: Records) {
    this.#records = records;
    this.#publishes = new Map(records.publishes.map((publish) => [publish.number, publish]));
  }

  verdict(): Verdict {
    const open = this.#records.clients.map((client) => ({ client, stays: this.#walk(client) }));
    this.#senders();
    for (const { what, group, from, to, at } of this.#leftOut) {
      const between = Array.from({ length: to.offset - from.offset - 1 }, (_, i) => from.offset + 1 + i);
      if (between.some((offset) => this.#isMessage(group, to.epoch, offset, at))) this.#tell(what);
    }
    for (const { client, stays } of open) {
      for (const [group, stay] of stays) this.#complete(client, group, stay);
    }
    const reasons = [...this.#reasons].map(([reason, count]) => [`gap ${reason}`, count]);
    return { broken: this.#broken, figures: { ...this.#figures, ...Object.fromEntries(reasons) } };
  }

  /** Whether somebody saw a message there, in the log as it was at that time. */
  #isMessage(group: string, epoch: string, offset: number, at: number): boolean {
    const id = this.#offsets.get(`${group} ${epoch} ${offset}`);
    const publish = this.#byPlace.get(`${group} ${epoch} ${offset} ${id}`);
    const { startedAt } = (publish !== undefined && this.#publishes.get(publish)) || {};
    if (startedAt === undefined) return false;
    // A log that was set back between the two may have something else there.
    const [from, to] = [Math.min(startedAt, at) - FAILOVER_MS, Math.max(startedAt, at) + FAILOVER_MS];
    return !this.#records.amnesias.some((lost) => lost > from && lost < to);
  }

  /** @returns the stays that were open at the end */
  #walk(client: ClientRecord): ReadonlyMap<string, Stay> {
    this.#client = client.name;
    const stays = new Map<string, Stay>();
    for (const [index, entry] of client.entries.entries()) {
      this.#at = entry.at;
      const wrong = this.#step(stays, entry);
      if (wrong === undefined) continue;
      const before = client.entries
        .slice(0, index)
        .filter((other) => !("group" in other) || ("group" in entry && other.group === entry.group));
      const story = [...before.slice(-SHOWN_BEFORE), entry].map(show).join("\n    ");
      this.#tell(`${client.name}: ${wrong}\n    ${story}`);
    }
    return stays;
  }

  #step(stays: Map<string, Stay>, entry: Entry): string | undefined {
    switch (entry.kind) {
      case "connected":
      case "list":
        return undefined;
      case "joining": {
        const stay = stays.get(entry.group);
        if (stay !== undefined) stay.comesAgain = true;
        return undefined;
      }
      case "disconnected":
        for (const [group, stay] of stays) {
          if (stay.isLeaving) stays.delete(group);
          stay.isInterrupted = true;
          stay.part = undefined;
        }
        return undefined;
    }
    const { group } = entry;
    if (this.#records.policies.get(group)?.history !== true) return undefined;
    const stay = stays.get(group);
    switch (entry.kind) {
      case "entered":
        return stay === undefined ? "is in, but was never told from where on" : undefined;
      case "leaving":
        if (stay !== undefined) stay.isLeaving = true;
        return undefined;
      case "left":
        stays.delete(group);
        this.#leftAt.set(`${this.#client} ${group}`, entry.at);
        return undefined;
      case "joined":
        return this.#joined(stays, stay, entry);
      case "gap":
        return this.#gap(stay, entry);
      case "position":
        return this.#position(stay, entry.place, group);
      case "presence":
        return this.#presence(stay, entry);
      case "event":
        return this.#event(stay, entry);
    }
  }

  #joined(stays: Map<string, Stay>, stay: Stay | undefined, entry: Entry & { kind: "joined" }) {
    const { at, group, place, recovered } = entry;
    // It left, and came again before it was told so.
    if (stay === undefined || stay.isLeaving) {
      // Or has not left yet, and was told where it is.
      const isLeaving = stay?.isLeaving === true && !stay.comesAgain;
      stays.set(group, { ...newStay(at, place), isLeaving, old: recovered ? 0 : this.#newcomers(group) });
      return undefined;
    }
    const { place: before, hasGap, isInterrupted } = stay;
    if (isInterrupted) stay.old = recovered ? 0 : this.#newcomers(group);
    stay.hasGap = false;
    stay.isInterrupted = false;
    stay.place = place;
    stay.epochs.add(place.epoch);
    if (recovered && isInterrupted) this.#figures.recoveries += 1;
    // The group's log begins.
    const begins = before?.epoch === "" && before.offset === 0 && place.offset === 0;
    if (hasGap || begins || isSame(before, place)) return undefined;
    if (this.#records.policies.get(group)?.conflate) return undefined;
    return `was at ${shown(before)} of ${group} and goes on at ${shown(place)}, without a gap`;
  }

  #newcomers(group: string): number {
    const { newcomers = 0 } = this.#records.policies.get(group) ?? {};
    // And the first after them.
    return newcomers === 0 ? 0 : newcomers + 1;
  }

  #gap(stay: Stay | undefined, entry: Entry & { kind: "gap" }): string | undefined {
    const { at, group, reason, place } = entry;
    this.#figures.gaps += 1;
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
    // Of a claim from before it had left; or it has just left.
    if (stay === undefined) return undefined;
    const { place: from } = stay;
    stay.gaps.push({ at, reason, from, to: place });
    stay.place = place;
    stay.part = undefined;
    stay.hasGap = true;
    stay.isNewcomer = false;
    const isEmpty = MEASURED.has(reason) && from?.epoch === place.epoch && from.offset >= place.offset;
    return isEmpty ? `is told of a gap in ${group} from ${shown(from)} to ${shown(place)}` : undefined;
  }

  #position(stay: Stay | undefined, place: Place, group: string): string | undefined {
    // In turn with what was given before it left.
    if (stay === undefined) return undefined;
    return this.#advance(stay, place, group);
  }

  /** Who came and left has its place among the messages, if it has one at all. */
  #presence(
    stay: Stay | undefined,
    { group, type, user, place }: Entry & { kind: "presence" },
  ): string | undefined {
    if (place === undefined) return undefined;
    const key = `${group} ${place.epoch} ${place.offset} ${place.id}`;
    const told = `${type} of ${user}`;
    const there = this.#tidings.get(key) ?? told;
    this.#tidings.set(key, told);
    if (there !== told || this.#byPlace.has(key)) {
      return `ANOTHER ORDER: ${key} is ${told}, and was ${this.#byPlace.get(key) ?? there} for others`;
    }
    // In turn with what was given before it left.
    return stay === undefined ? undefined : this.#advance(stay, place, group);
  }

  #event(stay: Stay | undefined, entry: Entry & { kind: "event" }): string | undefined {
    const { group, publish, place, part } = entry;
    const known = this.#publishes.get(publish);
    if (known === undefined) return "sees what nobody published";
    if (known.group !== group) return `sees in ${group} what was published to ${known.group}`;
    if (known.outcome === "refused") return `sees what was refused to its publisher (${publish})`;
    if (place === undefined) return `sees a message of ${group} without its position`;
    // What was given before its consumer left waits for the handlers of what was given before that.
    const leftAt = this.#leftAt.get(`${this.#client} ${group}`) ?? Number.NEGATIVE_INFINITY;
    if (stay === undefined && known.startedAt < leftAt) return undefined;
    if (stay === undefined) return `sees a message of ${group}, where it is not (any more)`;
    this.#figures.deliveries += 1;
    const other = this.#noteWhere(group, place, publish);
    if (other !== undefined) return other;
    const isNew = !stay.seen.has(publish);
    stay.seen.add(publish);
    const wrong =
      part === undefined ? this.#advance(stay, place, group) : this.#part(stay, place, part, group);
    if (isNew && stay.old > 0) stay.old -= 1;
    return wrong;
  }

  /** What a handler sends is whole when the position comes; until then a recovery may repeat it. */
  #part(stay: Stay, place: Place, part: number, group: string): string | undefined {
    const wrong = this.#isNext(stay, place, group);
    if (wrong !== undefined) return wrong;
    const expected = stay.part?.offset === place.offset ? stay.part.part + 1 : 1;
    stay.part = { offset: place.offset, part };
    return part === expected ? undefined : `gets part ${part} of ${place.offset}, not ${expected}`;
  }

  #advance(stay: Stay, place: Place, group: string): string | undefined {
    const wrong = this.#isNext(stay, place, group);
    // On from there, so that one fault is told once.
    stay.place = place;
    stay.part = undefined;
    stay.isNewcomer = false;
    return wrong;
  }

  #isNext(stay: Stay, place: Place, group: string): string | undefined {
    const { place: before, isInterrupted, isNewcomer } = stay;
    if (isInterrupted) return `goes on in ${group} before it was told where`;
    if (before === undefined) return undefined;
    const here = `${group}: at ${shown(before)} it gets ${shown(place)}`;
    if (place.epoch !== before.epoch) return `ANOTHER LOG without a gap in ${here}`;
    if (place.offset <= before.offset) return `DUPLICATE or out of order in ${here}`;
    const mayJump = isNewcomer || this.#records.policies.get(group)?.conflate === true;
    if (place.offset <= before.offset + 1 || mayJump) return undefined;
    const what = `HOLE without a gap in ${here}`;
    if (isSame(stay.leftOutTo, place)) return undefined;
    if (stay.old === 0) return what;
    stay.leftOutTo = place;
    this.#leftOut.push({ what: `${this.#client}: ${what}`, group, from: before, to: place, at: this.#at });
    return undefined;
  }

  /** One order for all: the same at every place, and each message at one place. */
  #noteWhere(group: string, place: Place, publish: number): string | undefined {
    const key = `${group} ${place.epoch} ${place.offset} ${place.id}`;
    const there = this.#byPlace.get(key);
    const known = this.#places.get(publish);
    this.#byPlace.set(key, publish);
    const offset = `${group} ${place.epoch} ${place.offset}`;
    if ((this.#offsets.get(offset) ?? place.id) !== place.id) this.#forked.add(offset);
    this.#offsets.set(offset, place.id);
    this.#places.set(publish, { key, place });
    if (this.#tidings.has(key)) return `ANOTHER ORDER: ${key} was ${this.#tidings.get(key)} for others`;
    if (there !== undefined && there !== publish) return `ANOTHER ORDER: ${key} was ${there} for others`;
    if (known !== undefined && known.key !== key) return `TWICE in the log: ${known.key} and ${key}`;
    return undefined;
  }

  /** What one sender said to a group stands in the log in its order. */
  #senders(): void {
    const lasts = new Map<string, { number: number; place: Place }>();
    const { amnesias, publishes } = this.#records;
    for (const { number, group, sender, startedAt } of publishes) {
      const place = this.#places.get(number)?.place;
      if (place === undefined) continue;
      const key = `${sender} ${group}`;
      const last = lasts.get(key);
      lasts.set(key, { number, place });
      if (last === undefined || last.place.epoch !== place.epoch || place.offset > last.place.offset)
        continue;
      // A log that was set back begins again where it was before.
      if (amnesias.some((at) => Math.abs(at - startedAt) < FAILOVER_MS)) continue;
      this.#tell(
        `${sender} said ${last.number} before ${number} to ${group}; in the log it is the other way round: ${shown(last.place)}, ${shown(place)}`,
      );
    }
  }

  /** Whoever is in at the end has seen all that was acknowledged since it came, or knows what it missed. */
  #complete({ name }: ClientRecord, group: string, stay: Stay): void {
    if (stay.isLeaving || this.#records.policies.get(group)?.conflate) return;
    for (const publish of this.#records.publishes) {
      const { number, outcome, startedAt, except } = publish;
      if (publish.group !== group || outcome !== "acknowledged" || startedAt < stay.since) continue;
      if (stay.seen.has(number)) this.#figures.complete += 1;
      else if (except === name) continue;
      else if (this.#isCovered(stay, publish)) this.#figures.coveredByGap += 1;
      else if (this.#isForgotten(stay, publish)) this.#figures.forgottenByRedis += 1;
      else {
        this.#figures.unheard += 1;
        const where = this.#places.get(number);
        const elsewhere = where === undefined ? "nobody saw it" : `others saw it at ${where.key}`;
        this.#tell(
          `${name} NEVER SAW ${number}, acknowledged at ${ms(publish.endedAt)} in ${group}; ${elsewhere}; it is at ${shown(stay.place)}`,
        );
      }
    }
  }

  #isCovered(stay: Stay, { number, startedAt }: Publish): boolean {
    const place = this.#places.get(number)?.place;
    return stay.gaps.some(({ at, reason, from, to }) => {
      if (!MEASURED.has(reason) || place === undefined) return at >= startedAt;
      if (from === undefined || from.epoch !== place.epoch) return at >= startedAt;
      return place.offset > from.offset && place.offset <= to.offset;
    });
  }

  /**
   * Redis had it and lost it, with its log or from the end of it, before this member's node knew of it: so
   * there is nothing by which anybody could know that something is missing.
   */
  #isForgotten(stay: Stay, { number, group, startedAt }: Publish): boolean {
    const place = this.#places.get(number)?.place;
    const isForked = place !== undefined && this.#forked.has(`${group} ${place.epoch} ${place.offset}`);
    if (place !== undefined && stay.epochs.has(place.epoch) && !isForked) return false;
    const { amnesias, policies } = this.#records;
    return policies.get(group)?.isBrief === true || amnesias.some((at) => at >= startedAt);
  }

  #tell(what: string): void {
    if (this.#broken.length < MAX_TOLD) this.#broken.push(what);
  }
}

function newStay(since: number, place: Place): Stay {
  return {
    since,
    place,
    isNewcomer: place.id === "",
    isInterrupted: false,
    hasGap: false,
    part: undefined,
    old: 0,
    leftOutTo: undefined,
    gaps: [],
    seen: new Set(),
    epochs: new Set([place.epoch]),
    isLeaving: false,
    comesAgain: false,
  };
}

function isSame(a: Place | undefined, b: Place): boolean {
  return a !== undefined && a.epoch === b.epoch && a.offset === b.offset;
}

function shown(place: Place | undefined): string {
  return place === undefined ? "nothing" : `${place.epoch}/${place.offset}/${place.id}`;
}

function show({ at, ...entry }: Entry): string {
  return `${ms(at)} ${JSON.stringify(entry)}`;
}

function ms(at: number): string {
  return `${at.toFixed(0)} ms`;
}
