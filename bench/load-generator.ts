/** A child process: many clients that count what they get. */
import { serve } from "./child.ts";
import type { LoadVerbs, Tally } from "./protocol.ts";
import { RawClient } from "./raw-client.ts";

/** How many connect at the same time; fewer than a server's backlog holds. */
const CONNECT_AT_ONCE = 50;

/** Events that each client has got. */
let counts = new Uint32Array(0);
let events = 0;
let bytes = 0;
let failure: Error | undefined;

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

function open(port: number, namespace: string, index: number): Promise<void> {
  return new Promise((resolve, reject) => {
    new RawClient(port, namespace, {
      onOpen: resolve,
      onEvent: (length) => {
        counts[index] = (counts[index] ?? 0) + 1;
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
  async connect({ port, namespace, clients }) {
    counts = new Uint32Array(clients);
    for (let opened = 0; opened < clients; opened += CONNECT_AT_ONCE) {
      const length = Math.min(CONNECT_AT_ONCE, clients - opened);
      await Promise.all(Array.from({ length }, (_, i) => open(port, namespace, opened + i)));
    }
  },

  async count() {
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
};

serve({ ...verbs });
