import { describe, expect, test } from "@jest/globals";
import { Mailbox } from "../../src/consumer/mailbox.ts";

/** A mailbox whose items end when the test says so. */
function make(capacity = 10, concurrency = 1) {
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  const mailbox = new Mailbox<string>(capacity, concurrency, {
    run(item) {
      started.push(item);
      return new Promise((resolve) => ends.set(item, resolve));
    },
  });
  const end = async (item: string) => {
    ends.get(item)?.();
    await turn();
  };
  return { mailbox, started, end };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("a mailbox", () => {
  test("runs one item at a time, in order", async () => {
    const { mailbox, started, end } = make();
    mailbox.open();
    for (const item of ["a", "b", "c"]) mailbox.post(item);
    await turn();
    expect(started).toEqual(["a"]);
    await end("a");
    expect(started).toEqual(["a", "b"]);
    await end("b");
    expect(started).toEqual(["a", "b", "c"]);
  });

  test("never runs an item inside the call that posts it", () => {
    const { mailbox, started } = make();
    mailbox.open();
    mailbox.post("a");
    expect(started).toEqual([]);
  });

  test("holds everything back until it is opened", async () => {
    const { mailbox, started } = make();
    mailbox.post("a");
    await turn();
    expect(started).toEqual([]);
    mailbox.open();
    await turn();
    expect(started).toEqual(["a"]);
  });

  test("runs as many at once as it is told to", async () => {
    const { mailbox, started, end } = make(10, 2);
    mailbox.open();
    for (const item of ["a", "b", "c"]) mailbox.post(item);
    await turn();
    expect(started).toEqual(["a", "b"]);
    await end("b");
    expect(started).toEqual(["a", "b", "c"]);
  });

  test("takes so many and no more", async () => {
    const { mailbox } = make(2);
    mailbox.open();
    expect(mailbox.post("runs")).toBe(true);
    await turn();
    expect([mailbox.post("a"), mailbox.post("b"), mailbox.post("c")]).toEqual([true, true, false]);
  });

  test("that has ended takes nothing, runs what may still run and hands back the rest", async () => {
    const { mailbox, started, end } = make();
    mailbox.open();
    for (const item of ["runs", "keep", "drop"]) mailbox.post(item);
    await turn();
    expect(mailbox.end((item) => item === "keep")).toEqual(["drop"]);
    expect(mailbox.post("late")).toBe(false);
    let isIdle = false;
    void mailbox.idle().then(() => {
      isIdle = true;
    });
    await end("runs");
    expect([started, isIdle]).toEqual([["runs", "keep"], false]);
    await end("keep");
    expect(isIdle).toBe(true);
  });

  test("that ends before it was opened runs nothing", async () => {
    const { mailbox, started } = make();
    mailbox.post("a");
    expect(mailbox.end(() => true)).toEqual(["a"]);
    mailbox.open();
    await mailbox.idle();
    expect(started).toEqual([]);
  });

  test("gives the event loop its turn when there is very much to do", async () => {
    let handled = 0;
    const mailbox = new Mailbox<number>(1_000, 1, {
      async run() {
        handled += 1;
      },
    });
    mailbox.open();
    for (let i = 0; i < 1_000; i++) mailbox.post(i);
    let handledBetween = 0;
    setImmediate(() => {
      handledBetween = handled;
    });
    await mailbox.idle();
    expect(handled).toBe(1_000);
    expect(handledBetween).toBeGreaterThan(0);
    expect(handledBetween).toBeLessThan(1_000);
  });

  test("runs what is done at once in order and one after another, and still gives the event loop its turn", async () => {
    const handled: number[] = [];
    const mailbox = new Mailbox<number>(1_000, 1, {
      run(item) {
        // Posting within a handler must not run anything within it.
        if (item === 0) mailbox.post(999);
        handled.push(item);
        return undefined;
      },
    });
    mailbox.open();
    for (let i = 0; i < 999; i++) mailbox.post(i);
    expect(handled).toEqual([]);
    let handledBetween = 0;
    setImmediate(() => {
      handledBetween = handled.length;
    });
    await mailbox.idle();
    expect(handled).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
    expect(handledBetween).toBeGreaterThan(0);
    expect(handledBetween).toBeLessThan(1_000);
  });

  test("mixes what is done at once with what takes its time, in order", async () => {
    const log: string[] = [];
    const mailbox = new Mailbox<string>(10, 1, {
      run(item) {
        log.push(item);
        if (item.startsWith("now")) return undefined;
        return turn().then(() => void log.push(`${item} done`));
      },
    });
    mailbox.open();
    for (const item of ["now 1", "later 2", "now 3", "later 4"]) mailbox.post(item);
    await mailbox.idle();
    expect(log).toEqual(["now 1", "later 2", "later 2 done", "now 3", "later 4", "later 4 done"]);
  });
});
