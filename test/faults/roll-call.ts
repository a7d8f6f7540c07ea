/** Who is where, when nothing is broken any more, as everybody says it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { PresentUser } from "sluice";
import { GROUPS, kindOf } from "./groups.ts";
import type { Guest } from "./guest.ts";
import type { NodeSlot } from "./node-slot.ts";
import type { RedisPlace } from "./redis-place.ts";

export interface RollCallSettings {
  readonly guests: readonly Guest[];
  readonly slots: readonly NodeSlot[];
  readonly redis: RedisPlace;
  readonly mostMs: number;
  /** How long users of a killed node may be seen. */
  readonly mostStaleMs: number;
}

export interface RollCall {
  readonly faults: readonly string[];
  /** How long it took, in milliseconds. */
  readonly figures: Readonly<Record<string, number>>;
}

const LOOK_AGAIN_MS = 50;
const ROUNDS = 3;
const MOST_SHOWN = 8;
/** All nodes state their users again within a lease; some more for a machine that is busy. */
const LEASES_MS = 5_000;
const LISTED = [...new Set(GROUPS)].filter((group) => kindOf(group).presence);

/**
 * Compares all lists with the truth: as everything was left, after Redis was emptied (of which no member may
 * hear), and after a node was killed whose clients stay away. Redis and all nodes must live; afterwards the
 * place of that node is empty.
 */
export async function callTheRoll(settings: RollCallSettings): Promise<RollCall> {
  const { guests, slots, redis, mostMs, mostStaleMs } = settings;
  const faults: string[] = [];
  const isRight = async (what: string, within: number, differ: () => Promise<string | undefined>) => {
    const begun = performance.now();
    for (;;) {
      const other = await differ().catch(String);
      const passed = Math.round(performance.now() - begun);
      if (other === undefined) return passed;
      if (passed > within) {
        faults.push(`${what}: after ${within} ms ${other}`);
        return passed;
      }
      await sleep(LOOK_AGAIN_MS);
    }
  };
  const everywhere = async () => (await differsInNodes(slots, guests)) ?? differsForGuests(guests);

  const rightMs = await isRight("everything healed", mostMs, everywhere);

  const total = (of: "tidings" | "connections") => guests.reduce((sum, guest) => sum + guest[of], 0);
  let statedAgainMs = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const before = { tidings: total("tidings"), connections: total("connections"), at: performance.now() };
    await redis.empty();
    statedAgainMs = await isRight("Redis emptied", mostMs, () => differsInRedis(redis, guests));
    await sleep(LEASES_MS);
    await isRight("Redis emptied", mostMs, everywhere);
    // On a machine that is too busy somebody may have lost a connection meanwhile.
    if (total("connections") > before.connections) continue;
    const tidings = total("tidings") - before.tidings;
    if (tidings > 0) {
      const told = firstTold(guests, before.at).join(", ");
      faults.push(`Redis emptied: members were told ${tidings} times of others who never left: ${told}`);
    }
    break;
  }

  const [slot] = slots;
  const name = slot?.node?.name;
  const gone = guests.filter(({ sender }) => sender.node === name);
  const killedAt = performance.now();
  await slot?.kill();
  for (const guest of gone) guest.goAway();
  const leftMs = await isRight("a node killed", mostMs, everywhere);
  const staleMs = Math.round(performance.now() - killedAt);
  if (staleMs > mostStaleMs && leftMs < mostMs) {
    faults.push(`the users of a killed node were seen for ${staleMs} ms, not ${mostStaleMs}`);
  }
  return { faults, figures: { rightMs, statedAgainMs, goneWithTheirNodeMs: staleMs } };
}

function firstTold(guests: readonly Guest[], since: number): readonly string[] {
  for (const { name, entries } of guests) {
    const told = entries.flatMap((entry) =>
      entry.kind === "presence" && entry.at >= since
        ? `${name} after ${(entry.at - since).toFixed(0)} ms ${entry.type} of ${entry.user} in ${entry.group}`
        : [],
    );
    if (told.length > 0) return told.slice(0, MOST_SHOWN);
  }
  return [];
}

/** The users in a group, and with how many connections. */
function truth(guests: readonly Guest[], group: string): ReadonlyMap<string, number> {
  const users = new Map<string, number>();
  for (const { user, isConnected, wanted } of guests) {
    if (user !== undefined && isConnected && wanted.has(group)) users.set(user, (users.get(user) ?? 0) + 1);
  }
  return users;
}

async function differsInNodes(
  slots: readonly NodeSlot[],
  guests: readonly Guest[],
): Promise<string | undefined> {
  for (const { node } of slots) {
    if (node === undefined) continue;
    for (const group of LISTED) {
      const users = (await node.call("present", { group })) as readonly PresentUser[];
      const seen = users.map(({ user, connections }) => `${user} (${connections})`);
      const other = difference(
        seen,
        [...truth(guests, group)].map(([user, connections]) => `${user} (${connections})`),
      );
      if (other !== undefined) return `${node.name} lists in ${group} ${other}`;
    }
  }
  return undefined;
}

/** As each client has it from its first list and all that it was told since. */
async function differsForGuests(guests: readonly Guest[]): Promise<string | undefined> {
  for (const guest of guests) {
    if (!guest.isConnected) continue;
    for (const group of guest.wanted) {
      if (!kindOf(group).presence) continue;
      if (guest.presentIn(group) === undefined) {
        guest.askForList(group);
        return `${guest.name} has no list of ${group}`;
      }
      const other = difference([...(guest.presentIn(group) ?? [])], [...truth(guests, group).keys()]);
      if (other !== undefined) return `${guest.name} sees in ${group} ${other}`;
    }
  }
  return undefined;
}

async function differsInRedis(redis: RedisPlace, guests: readonly Guest[]): Promise<string | undefined> {
  return redis.withClient(async (client) => {
    for (const group of LISTED) {
      const users = await client.hKeys(`faults:{${group}}:who`);
      const other = difference(users, [...truth(guests, group).keys()]);
      if (other !== undefined) return `Redis lists in ${group} ${other}`;
    }
    return undefined;
  });
}

function difference(seen: readonly string[], wanted: readonly string[]): string | undefined {
  const [is, ought] = [seen, wanted].map((list) => [...list].sort().join(", "));
  return is === ought ? undefined : `[${is}] instead of [${ought}]`;
}
