/** A child process: many clients that count what they get. */
import { serve } from "./child.ts";
import { now } from "./clock.ts";
import type { LoadVerbs, Tally } from "./protocol.ts";
import { RawClient } from "./raw-client.ts";
import { quantile } from "./statistics.ts";

/** How many connect at the same time; fewer than a server's backlog holds. */
const CONNECT_AT_ONCE = 50;

/** Events that each client has got. */
let counts = new Uint32Array(0);
let events = 0;
let bytes = 0;
let failure: Error | undefined;

/** When each client got its nth message, message by message; empty when nobody wants to know. */
let arrivals = new Float64Array(0);

/** Who waits for events, and for how many. */
let awaited = Number.POSITIVE_INFINITY;
let wake = () => {};

function tally(): Tally {
  if (failure !== undefined) throw failure;
  let fewest = Number.POSITIVE_INFINITY;
  let most = 0;
  for (const count of counts) {
    fewest = Math.min(fewest, count);
    most = Math.max(most, count);
  }
  return { events, fewest, most, bytes };
}

function open(port: number, entries: readonly string[], index: number): Promise<void> {
  return new Promise((resolve, reject) => {
    new RawClient(port, entries, {
      onOpen: resolve,
      onEvent: (length) => {
        const count = counts[index] ?? 0;
        if (arrivals.length > 0) arrivals[count * counts.length + index] = now();
        counts[index] = count + 1;
        events += 1;
        bytes += length;
        if (events >= awaited) wake();
      },
      onEnd: (error) => {
        failure ??= new Error(`client ${index}: ${error.message}`);
        reject(failure);
        wake();
      },
    });
  });
}

const verbs: Omit<LoadVerbs, "usage"> = {
  async connect({ port, clients }) {
    const first = counts.length;
    counts = new Uint32Array(first + clients.length);
    for (let opened = 0; opened < clients.length; opened += CONNECT_AT_ONCE) {
      const some = clients.slice(opened, opened + CONNECT_AT_ONCE);
      await Promise.all(some.map((entries, i) => open(port, entries, first + opened + i)));
    }
  },

  async count({ messages } = { messages: 0 }) {
    arrivals = new Float64Array(messages * counts.length);
    counts.fill(0);
    events = 0;
    bytes = 0;
  },

  async received(until) {
    if (events < until.events && failure === undefined) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, until.timeoutMs);
        awaited = until.events;
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      awaited = Number.POSITIVE_INFINITY;
      wake = () => {};
    }
    return tally();
  },

  async tally() {
    return tally();
  },

  async latency({ sentAt, from, to }) {
    const clients = counts.length;
    const all = new Float64Array(sentAt.length * (to - from));
    sentAt.forEach((sent, message) => {
      for (let client = from; client < to; client += 1) {
        all[message * (to - from) + client - from] = (arrivals[message * clients + client] ?? 0) - sent;
      }
    });
    all.sort();
    return { p50: quantile(all, 0.5), p99: quantile(all, 0.99), max: quantile(all, 1) };
  },
};

serve({ ...verbs });
