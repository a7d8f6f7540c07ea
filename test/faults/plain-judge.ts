/**
 * Groups without history: at most once, each sender in its order, and no loss that nobody speaks of. A client
 * that comes back is another member: what it hears then it may have heard before.
 */
import type { ClientRecord, Entry, Publish, Records, Verdict } from "./records.ts";

const MAX_TOLD = 100;
/** Longer than anything waits on its way: who was connected for so long afterwards was to hear it. */
const ON_ITS_WAY_MS = 15_000;

interface Membership {
  readonly group: string;
  readonly node: string;
  readonly from: number;
  /** When it asked to leave, or lost its connection. */
  until: number;
  /** By all memberships of one connection. */
  readonly seen: ReadonlySet<string>;
}

export function judgePlain(records: Records): Verdict {
  return new PlainJudge(records).verdict();
}

class PlainJudge {
  readonly #records: Records;
  readonly #publishes: ReadonlyMap<number, Publish>;
  readonly #broken: string[] = [];
  readonly #figures = {
    deliveries: 0,
    expected: 0,
    announcedLosses: 0,
    lostWithTheirNode: 0,
    silentLosses: 0,
  };

  constructor(records: Records) {
    this.#records = records;
    this.#publishes = new Map(records.publishes.map((publish) => [publish.number, publish]));
  }

  verdict(): Verdict {
    for (const client of this.#records.clients) {
      for (const membership of this.#walk(client)) this.#missing(client, membership);
    }
    return { broken: this.#broken, figures: this.#figures };
  }

  #walk({ name, entries }: ClientRecord): readonly Membership[] {
    const memberships: Membership[] = [];
    const open = new Map<string, Membership>();
    let hearing = new Hearing();
    let node = "";
    const enter = (group: string, from: number) => {
      hearing.out.delete(group);
      if (this.#keepsHistory(group)) return;
      const membership = { group, node, from, until: this.#records.endedAt, seen: hearing.seen };
      open.set(group, membership);
      memberships.push(membership);
    };
    for (const entry of entries) {
      const { at } = entry;
      switch (entry.kind) {
        case "connected":
          node = entry.node;
          hearing = new Hearing();
          for (const group of entry.groups) enter(group, at);
          break;
        case "disconnected":
          for (const membership of open.values()) membership.until = Math.min(membership.until, at);
          open.clear();
          break;
        case "joining":
          hearing.out.delete(entry.group);
          break;
        case "entered":
          enter(entry.group, at);
          break;
        case "leaving":
          for (const membership of memberships) {
            if (membership.group === entry.group) membership.until = Math.min(membership.until, at);
          }
          open.delete(entry.group);
          break;
        case "left":
          hearing.out.set(entry.group, at);
          break;
        case "event":
          if (!this.#keepsHistory(entry.group)) this.#event(name, entry, hearing);
      }
    }
    return memberships;
  }

  #event(name: string, { group, publish: number, part }: Entry & { kind: "event" }, hearing: Hearing): void {
    this.#figures.deliveries += 1;
    const publish = this.#publishes.get(number);
    if (publish === undefined || publish.group !== group) {
      return this.#tell(`${name} sees in ${group} what nobody published there (${number})`);
    }
    if (publish.outcome === "refused")
      this.#tell(`${name} sees ${number}, which was refused to its publisher`);
    if (!hearing.isFirst(`${number} ${part ?? 0}`)) this.#tell(`${name} sees ${number} in ${group} TWICE`);
    // Each verb has its own way to the client.
    const last = hearing.lastOf(`${publish.sender} ${group} ${publish.verb}`, number);
    if (number < last) this.#tell(`${name} sees ${number} of ${publish.sender} in ${group} AFTER ${last}`);
    const outSince = hearing.out.get(group);
    if (outSince !== undefined && publish.startedAt > outSince) {
      this.#tell(`${name} sees ${number} of ${group}, said after it had left`);
    }
  }

  #missing({ name }: ClientRecord, { group, node, from, until, seen }: Membership): void {
    const isLast = until >= this.#records.endedAt;
    for (const publish of this.#records.publishes) {
      const { number, outcome, startedAt, endedAt, except, verb } = publish;
      if (publish.group !== group || outcome !== "acknowledged" || startedAt < from || except === name)
        continue;
      if (!isLast && endedAt > until - ON_ITS_WAY_MS) continue;
      this.#figures.expected += 1;
      if (seen.has(`${number} ${verb === "send" ? 1 : 0}`)) continue;
      if (this.#isAnnounced(publish, node)) this.#figures.announcedLosses += 1;
      else if (this.#wasKilled(publish)) this.#figures.lostWithTheirNode += 1;
      else {
        this.#figures.silentLosses += 1;
        this.#tell(
          `${name} on ${node} never saw ${number} in ${group}, said at ${startedAt.toFixed(0)} ms by ${publish.sender} on ${publish.node}, and nobody SPOKE OF A LOSS`,
        );
      }
    }
  }

  #isAnnounced({ group, node, startedAt }: Publish, there: string): boolean {
    return this.#records.losses.some(
      (loss) =>
        loss.at >= startedAt &&
        (loss.group === undefined || loss.group === group) &&
        (loss.fact === "dropped" ? loss.node === node : loss.node === there),
    );
  }

  /** What a node had said yes to and not handed on yet went with it. */
  #wasKilled({ node, startedAt }: Publish): boolean {
    return this.#records.killed.some((killed) => killed.node === node && killed.at >= startedAt);
  }

  #keepsHistory(group: string): boolean {
    return this.#records.policies.get(group)?.history === true;
  }

  #tell(what: string): void {
    if (this.#broken.length < MAX_TOLD) this.#broken.push(what);
  }
}

/** What one client has heard on one connection. */
class Hearing {
  readonly seen = new Set<string>();
  /** Groups that it is out of for certain, and since when. */
  readonly out = new Map<string, number>();
  readonly #lasts = new Map<string, number>();

  isFirst(key: string): boolean {
    const isFirst = !this.seen.has(key);
    this.seen.add(key);
    return isFirst;
  }

  /** The highest before this one. */
  lastOf(line: string, number: number): number {
    const last = this.#lasts.get(line) ?? -1;
    this.#lasts.set(line, Math.max(last, number));
    return last;
  }
}
