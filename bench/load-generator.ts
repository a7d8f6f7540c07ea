/** A child process: many clients that count what they get. */
import { serve } from "./child.ts";
import { now } from "./clock.ts";
import { mark, roomOf } from "./messages.ts";
import type { Latency, LoadVerbs } from "./protocol.ts";
import { RawClient } from "./raw-client.ts";
import { quantile } from "./statistics.ts";
import { WIRES, type WireName } from "./wires.ts";

/** Fewer than any server's backlog holds. */
const CONNECT_AT_ONCE = 50;
/** Of those that come back all at once. */
const TRIES = 5;
const ASK_TIMEOUT_MS = 60_000;
const NAP_MS = 1;

interface Seat {
  readonly port: number;
  readonly wire: WireName;
  readonly rooms: readonly number[];
  client: RawClient;
  answered: (number: number) => void;
}

const seats: Seat[] = [];
/** Of the events that each client has got. */
let counts = new Uint32Array(0);
let marks = new Float64Array(0);
let events = 0;
let bytes = 0;
let failure: Error | undefined;

/** What is going to come. */
let expected = { messages: 0, rooms: 1, events: 0 };
/** When each client got message n; empty when nobody wants to know. */
let arrivals = new Float64Array(0);
/** Called when all has come, and when something has failed. */
const waiters = new Set<() => void>();

let isNapping = false;
const never = new Int32Array(new SharedArrayBuffer(4));

/** Once in each turn of the event loop; whoever writes to a process that does not wait for it need not wake it. */
function nap(): void {
  if (!isNapping) return;
  Atomics.wait(never, 0, 0, NAP_MS);
  setImmediate(nap);
}

function wake(): void {
  for (const waiter of waiters) waiter();
}

function failed(error: Error): Error {
  failure ??= error;
  wake();
  return failure;
}

/** Resolves when it is so, rejects when something failed or time is up. */
function until(isSo: () => boolean, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      waiters.delete(look);
    };
    const look = () => {
      if (failure === undefined && !isSo()) return;
      end();
      if (failure === undefined) resolve();
      else reject(failure);
    };
    const timer = setTimeout(() => {
      end();
      reject(new Error("time is up"));
    }, timeoutMs);
    waiters.add(look);
    look();
  });
}

/**
 * Lets a client in, on a seat of its own or on one whose client is gone.
 *
 * @param tries - how often it comes, should the system not let it through to a server with too many newcomers
 */
function open(index: number, seat: Pick<Seat, "port" | "wire" | "rooms">, tries = 1): Promise<void> {
  return new Promise((resolve, reject) => {
    const { port, wire, rooms } = seat;
    let isOpen = false;
    const client = new RawClient(port, WIRES[wire], rooms, {
      onOpen() {
        isOpen = true;
        resolve();
      },
      onEvent(number, length) {
        if (arrivals.length > 0) arrivals[number * seats.length + index] = now();
        counts[index] = (counts[index] ?? 0) + 1;
        marks[index] = (marks[index] ?? 0) + mark(number);
        events += 1;
        bytes += length;
        if (events === expected.events) wake();
      },
      onAnswer: (number) => seats[index]?.answered(number),
      onEnd(error) {
        if (!isOpen && tries > 1) return resolve(open(index, seat, tries - 1));
        reject(failed(new Error(`client ${index}: ${error.message}`)));
      },
    });
    const answered = () => {
      failed(new Error(`client ${index} got an answer to nothing`));
    };
    seats[index] = { port, wire, rooms, client, answered };
  });
}

/** Indices of clients, so many of them at a time. */
async function openAll(
  all: readonly Pick<Seat, "port" | "wire" | "rooms">[],
  first: number,
  atOnce: number,
  tries = 1,
): Promise<number> {
  const startedAt = performance.now();
  let next = 0;
  const some = async () => {
    while (next < all.length) {
      const index = next;
      next += 1;
      await open(first + index, all[index] as Seat, tries);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, all.length) }, some));
  return performance.now() - startedAt;
}

function forget(): void {
  counts = new Uint32Array(seats.length);
  marks = new Float64Array(seats.length);
  events = 0;
  bytes = 0;
}

/** The messages that a client in these rooms gets: how many, and the sum of their marks. */
function due(rooms: readonly number[]): { readonly count: number; readonly sum: number } {
  const own = new Set(rooms);
  let count = 0;
  let sum = 0;
  for (let number = 0; number < expected.messages; number += 1) {
    if (!own.has(roomOf(number, expected.rooms))) continue;
    count += 1;
    sum += mark(number);
  }
  return { count, sum };
}

/** The same for everyone in the same rooms, so it is found out once. */
function eachDue(): readonly { readonly count: number; readonly sum: number }[] {
  const known = new Map<string, ReturnType<typeof due>>();
  return seats.map(({ rooms }) => {
    const key = rooms.join();
    const found = known.get(key) ?? due(rooms);
    known.set(key, found);
    return found;
  });
}

function latencyOf(all: Float64Array): Latency {
  all.sort();
  return { p50: quantile(all, 0.5), p99: quantile(all, 0.99), max: quantile(all, 1) };
}

const verbs: Omit<LoadVerbs, "usage"> = {
  async connect({ port, wire, clients, atOnce = CONNECT_AT_ONCE }) {
    const first = seats.length;
    const all = clients.map((rooms) => ({ port, wire, rooms }));
    const tookMs = await openAll(all, first, atOnce);
    forget();
    return tookMs;
  },

  async nap(isOn) {
    isNapping = isOn;
    if (isOn) setImmediate(nap);
  },

  async leave() {
    await Promise.all(seats.map(({ client }) => client.cut()));
    seats.length = 0;
    forget();
  },

  async again() {
    const all = seats.map(({ port, wire, rooms }) => ({ port, wire, rooms }));
    for (const { client } of seats) void client.cut();
    return openAll(all, 0, all.length, TRIES);
  },

  async count({ messages, rooms, isTimed = false }) {
    forget();
    expected = { messages, rooms, events: 0 };
    for (const { count } of eachDue()) expected.events += count;
    arrivals = new Float64Array(isTimed ? messages * seats.length : 0);
  },

  async received({ timeoutMs }) {
    // What is missing then is told by the tally.
    await until(() => events >= expected.events, timeoutMs).catch(() => {});
  },

  async tally() {
    if (failure !== undefined) throw failure;
    if (events !== expected.events) throw new Error(`${events} deliveries instead of ${expected.events}`);
    eachDue().forEach(({ count, sum }, index) => {
      if (counts[index] === count && marks[index] === sum) return;
      throw new Error(
        `client ${index} got ${counts[index]} messages instead of ${count}, or one twice and another not`,
      );
    });
    return { events, bytes };
  },

  async latency({ sentAt, from, to }) {
    const all = new Float64Array(sentAt.length * (to - from));
    sentAt.forEach((sent, message) => {
      for (let client = from; client < to; client += 1) {
        all[message * (to - from) + client - from] = (arrivals[message * seats.length + client] ?? 0) - sent;
      }
    });
    return latencyOf(all);
  },

  async ask({ question, clients, times }) {
    const all = new Float64Array(clients * times);
    let left = clients;
    seats.slice(0, clients).forEach((seat, index) => {
      let asked = 0;
      let askedAt = 0;
      // Of all questions, so that broadcasts of different clients are told apart.
      const number = () => asked * clients + index;
      const next = () => {
        askedAt = now();
        seat.client.ask(question, number());
      };
      seat.answered = (answered) => {
        if (answered !== number()) failed(new Error(`client ${index} got the answer to ${answered}`));
        all[number()] = now() - askedAt;
        asked += 1;
        if (asked < times) return next();
        seat.answered = () => void failed(new Error(`client ${index} got an answer too many`));
        left -= 1;
        if (left === 0) wake();
      };
      next();
    });
    await until(() => left === 0, ASK_TIMEOUT_MS);
    return latencyOf(all);
  },
};

serve({ ...verbs });
