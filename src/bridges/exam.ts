/**
 * The exam that every source passes, through a bridge. It needs no test runner: each case is a name and a function
 * that throws when the promise in its name is broken.
 *
 * @example
 * for (const { name, run } of sourceExam(makeQueue)) test(name, run);
 */
import assert from "node:assert/strict";
import { type Bridge, type BridgeOptions, bridge } from "./bridge.ts";
import type { BridgedMessage } from "./message.ts";
import type { Source } from "./types.ts";

/** A queue of its own, empty, with a place for what is rejected. */
export interface ExamQueue {
  /** Resolves when the queue has it. */
  put(text: string | Uint8Array, headers?: Readonly<Record<string, string>>): Promise<void>;
  source(): Source;
  /** Waits until so many were rejected, and returns all that were, as text. */
  rejected(count: number): Promise<readonly string[]>;
  /** Breaks the connections of all sources, and lets them come back. */
  cut(): Promise<void>;
  close(): Promise<void>;
}

/** One promise, and what proves it: `run` rejects if it is broken. */
export interface ExamCase {
  readonly name: string;
  run(): Promise<void>;
}

export interface ExamOptions {
  /** How long a message may take to come (again). */
  readonly patienceMs?: number;
}

type Heard = BridgedMessage<unknown>;

/** A bridge and what it has brought. */
class Guest {
  readonly heard: Heard[] = [];
  readonly bridge: Bridge;
  readonly #patienceMs: number;

  constructor(
    source: Source,
    to: (message: Heard) => unknown,
    patienceMs: number,
    options: Partial<BridgeOptions<unknown>> = {},
  ) {
    this.#patienceMs = patienceMs;
    this.bridge = bridge({
      retryMs: 20,
      maxRetryMs: 100,
      reconnectMs: 50,
      maxReconnectMs: 500,
      ...options,
      source,
      to: (message) => {
        this.heard.push(message);
        return to(message);
      },
    });
  }

  get bodies(): readonly unknown[] {
    return this.heard.map(({ body }) => body);
  }

  async until(holds: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + this.#patienceMs;
    while (!holds()) {
      const seen = JSON.stringify(this.bodies.slice(-20));
      assert.ok(performance.now() < deadline, `within ${this.#patienceMs} ms: ${what}; it heard ${seen}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** The exam for carriers of bridges: give each case to your test runner, as `test(name, run)`. */
export function sourceExam(
  makeQueue: () => Promise<ExamQueue>,
  { patienceMs = 20_000 }: ExamOptions = {},
): readonly ExamCase[] {
  const exam: ExamCase[] = [];
  type Join = (to: (message: Heard) => unknown, options?: Partial<BridgeOptions<unknown>>) => Promise<Guest>;
  const promise = (name: string, run: (queue: ExamQueue, join: Join) => Promise<void>) => {
    exam.push({
      name,
      async run() {
        const queue = await makeQueue();
        const guests: Guest[] = [];
        try {
          await run(queue, async (to, options) => {
            const guest = new Guest(queue.source(), to, patienceMs, options);
            guests.push(guest);
            await guest.bridge.start();
            return guest;
          });
        } finally {
          await Promise.all(guests.map((guest) => guest.bridge.stop({ withinMs: 1_000 })));
          await queue.close();
        }
      },
    });
  };
  const done = (guest: Guest, count: number) =>
    guest.until(() => guest.bridge.counts.done >= count, `${count} messages are done`);

  promise("messages come as they were put, those from before too", async (queue, join) => {
    await queue.put('{"before":true}');
    const guest = await join(() => {});
    await done(guest, 1);
    const texts = ["é😀\u2028", "x".repeat(100_000), ""];
    for (const text of texts) await queue.put(JSON.stringify(text), { origin: "shop" });
    await done(guest, 4);
    assert.deepEqual(guest.bodies, [{ before: true }, ...texts]);
    assert.equal(guest.heard[1]?.headers.get("origin"), "shop");
    assert.equal(guest.heard[1]?.isRedelivered, false);
  });

  promise("one at a time keeps the order, through failures too", async (queue, join) => {
    const failed = new Set<unknown>();
    const guest = await join(
      ({ body }) => {
        if ((body as number) % 3 === 0 && !failed.has(body)) {
          failed.add(body);
          throw new Error("once");
        }
      },
      { prefetch: 1 },
    );
    for (let i = 0; i < 9; i++) await queue.put(String(i));
    await done(guest, 9);
    assert.deepEqual(guest.bodies, [0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8]);
  });

  promise("what was accepted does not come again", async (queue, join) => {
    const first = await join(() => {});
    for (let i = 0; i < 20; i++) await queue.put(String(i));
    await done(first, 20);
    await first.bridge.stop();
    await queue.put('"marker"');
    const second = await join(() => {});
    await done(second, 1);
    assert.deepEqual(second.bodies, ["marker"]);
  });

  promise("what has not succeeded when the bridge stops comes again, and is marked", async (queue, join) => {
    const first = await join(() => new Promise(() => {}));
    await queue.put('"work"');
    await first.until(() => first.heard.length === 1, "it comes");
    assert.equal(first.heard[0]?.signal.aborted, false);
    await first.bridge.stop({ withinMs: 10 });
    assert.equal(first.heard[0]?.signal.aborted, true);
    const second = await join(() => {});
    await done(second, 1);
    assert.deepEqual(second.bodies, ["work"]);
  });

  promise("stopping finishes what is in hand, and starts nothing more", async (queue, join) => {
    let finish = () => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const first = await join(() => finished, { prefetch: 1 });
    await queue.put('"first"');
    await queue.put('"second"');
    await first.until(() => first.heard.length === 1, "the first comes");
    const stopped = first.bridge.stop({ withinMs: patienceMs });
    finish();
    await stopped;
    assert.deepEqual([first.bodies, first.bridge.counts.done], [["first"], 1]);
    const second = await join(() => {});
    await done(second, 1);
    assert.deepEqual(second.bodies, ["second"]);
  });

  promise("what fails as often as it may is rejected, and the rest goes on", async (queue, join) => {
    const guest = await join(
      ({ body }) => {
        if (body === "bad") throw new Error("always");
      },
      { maxAttempts: 3, prefetch: 1 },
    );
    await queue.put('"bad"');
    await queue.put('"good"');
    await done(guest, 1);
    assert.deepEqual(await queue.rejected(1), ['"bad"']);
    assert.deepEqual(guest.bodies, ["bad", "bad", "bad", "good"]);
  });

  promise("poison is rejected at once, without being tried", async (queue, join) => {
    const guest = await join(() => {});
    await queue.put("{ no json");
    await queue.put(Uint8Array.of(0xff, 0xfe));
    await queue.put('"good"');
    await done(guest, 1);
    assert.equal((await queue.rejected(2)).length, 2);
    assert.deepEqual(guest.bodies, ["good"]);
    assert.equal(guest.bridge.counts.rejected, 2);
  });

  promise(
    "a lost connection is made again: nothing is lost, neither what was in hand nor what came since",
    async (queue, join) => {
      let release = () => {};
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      const guest = await join(({ body }) => (body === "held" ? released : undefined), { prefetch: 5 });
      await queue.put('"held"');
      await guest.until(() => guest.heard.length === 1, "it comes");
      await queue.cut();
      await queue.put('"after"');
      release();
      await guest.until(() => guest.bodies.includes("after"), "what came since is heard");
      await guest.until(() => guest.bridge.isConnected && guest.bridge.counts.inHand === 0, "all is done");
      await guest.bridge.stop();
      await queue.put('"marker"');
      const second = await join(() => {});
      await done(second, 1);
      assert.deepEqual(second.bodies, ["marker"]);
    },
  );

  promise(
    "of many messages none is missing, though some fail and the connection breaks",
    async (queue, join) => {
      const seen = new Map<number, number>();
      const guest = await join(({ body }) => {
        const n = body as number;
        const times = (seen.get(n) ?? 0) + 1;
        seen.set(n, times);
        if (n % 7 === 0 && times === 1) throw new Error("once");
      });
      for (let i = 0; i < 100; i++) await queue.put(String(i));
      await guest.until(() => seen.size > 30, "a third has come");
      await queue.cut();
      for (let i = 100; i < 200; i++) await queue.put(String(i));
      await guest.until(() => seen.size === 200, "all have come");
      await guest.until(() => guest.bridge.counts.inHand === 0, "all are done");
      for (let i = 0; i < 200; i += 7) assert.ok((seen.get(i) ?? 0) >= 2, `${i} was tried again`);
      await guest.bridge.stop();
      await queue.put('"marker"');
      const second = await join(() => {});
      await done(second, 1);
      assert.deepEqual(second.bodies, ["marker"]);
    },
  );

  promise("two share the work: each message is done once", async (queue, join) => {
    const all: unknown[] = [];
    const to = ({ body }: Heard) => void all.push(body);
    const [one, two] = [await join(to), await join(to)];
    for (let i = 0; i < 50; i++) await queue.put(String(i));
    await one.until(() => one.bridge.counts.done + two.bridge.counts.done === 50, "all are done");
    assert.deepEqual(
      [...all].sort((a, b) => Number(a) - Number(b)),
      Array.from({ length: 50 }, (_, i) => i),
    );
  });

  return exam;
}
