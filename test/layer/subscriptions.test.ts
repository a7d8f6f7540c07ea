import { describe, expect, test } from "@jest/globals";
import type { Backplane } from "sluice";
import { Subscriptions } from "../../src/layer/subscriptions.ts";
import { seeded } from "../seeded.ts";

/** A backplane whose steps end when the test says so. */
class SteppedBackplane {
  readonly steps: { what: string; end(error?: Error): void }[] = [];

  subscribe(topic: string): Promise<void> {
    return this.#step(`open ${topic}`);
  }
  unsubscribe(topic: string): Promise<void> {
    return this.#step(`close ${topic}`);
  }
  #step(what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.steps.push({ what, end: (error) => (error ? reject(error) : resolve()) });
    });
  }
  get log(): readonly string[] {
    return this.steps.map(({ what }) => what);
  }
}

function make() {
  const backplane = new SteppedBackplane();
  return { backplane, subscriptions: new Subscriptions(backplane as unknown as Backplane) };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("subscriptions", () => {
  test("the first opens the topic, the others wait for the same opening, the last closes it", async () => {
    const { backplane, subscriptions } = make();
    const yes: string[] = [];
    const first = subscriptions.acquire("t").then(() => yes.push("first"));
    const second = subscriptions.acquire("t").then(() => yes.push("second"));
    await turn();
    expect(yes).toEqual([]);
    backplane.steps[0]?.end();
    await Promise.all([first, second]);
    await subscriptions.release("t");
    expect(backplane.log).toEqual(["open t"]);
    const last = subscriptions.release("t");
    await turn();
    backplane.steps[1]?.end();
    await last;
    expect(backplane.log).toEqual(["open t", "close t"]);
    expect(subscriptions.size).toBe(0);
  });

  test("who comes while the topic closes waits, and opens it again", async () => {
    const { backplane, subscriptions } = make();
    const first = subscriptions.acquire("t");
    backplane.steps[0]?.end();
    await first;
    const leaving = subscriptions.release("t");
    let isIn = false;
    const second = subscriptions.acquire("t").then(() => {
      isIn = true;
    });
    await turn();
    expect(backplane.log).toEqual(["open t", "close t"]);
    backplane.steps[1]?.end();
    await turn();
    expect(backplane.log).toEqual(["open t", "close t", "open t"]);
    expect(isIn).toBe(false);
    backplane.steps[2]?.end();
    await Promise.all([leaving, second]);
    expect(subscriptions.has("t")).toBe(true);
  });

  test("who leaves while the topic opens closes it when it is open", async () => {
    const { backplane, subscriptions } = make();
    const joining = subscriptions.acquire("t");
    const leaving = subscriptions.release("t");
    await turn();
    backplane.steps[0]?.end();
    await joining;
    await turn();
    expect(backplane.log).toEqual(["open t", "close t"]);
    backplane.steps[1]?.end();
    await leaving;
    expect(subscriptions.size).toBe(0);
  });

  test("an opening that fails is told to all who waited for it, and the next tries again", async () => {
    const { backplane, subscriptions } = make();
    const first = subscriptions.acquire("t");
    const second = subscriptions.acquire("t");
    backplane.steps[0]?.end(new Error("refused"));
    await expect(first).rejects.toThrow("refused");
    await expect(second).rejects.toThrow("refused");
    const third = subscriptions.acquire("t");
    await turn();
    backplane.steps[1]?.end();
    await third;
    expect(subscriptions.has("t")).toBe(true);
  });

  test("a topic that could not be opened leaves nothing behind", async () => {
    const { backplane, subscriptions } = make();
    const only = subscriptions.acquire("t");
    backplane.steps[0]?.end(new Error("refused"));
    await expect(only).rejects.toThrow("refused");
    expect(subscriptions.size).toBe(0);
  });

  test("releasing what was not acquired does nothing", async () => {
    const { backplane, subscriptions } = make();
    await subscriptions.release("t");
    expect(backplane.log).toEqual([]);
  });

  test("whatever the interleaving: yes means open, and at the end everything is closed", async () => {
    const random = seeded(20_26);
    const open = new Set<string>();
    const slow = () => new Promise((resolve) => setTimeout(resolve, random() * 2));
    const backplane = {
      async subscribe(topic: string) {
        await slow();
        open.add(topic);
      },
      async unsubscribe(topic: string) {
        open.delete(topic);
        await slow();
      },
    };
    const subscriptions = new Subscriptions(backplane as unknown as Backplane);
    const user = async () => {
      for (let i = 0; i < 20; i++) {
        const topic = `t${Math.floor(random() * 3)}`;
        await subscriptions.acquire(topic);
        expect(open.has(topic)).toBe(true);
        await slow();
        expect(open.has(topic)).toBe(true);
        const released = subscriptions.release(topic);
        if (random() < 0.5) await released;
      }
    };
    await Promise.all(Array.from({ length: 10 }, user));
    while (subscriptions.size > 0) await slow();
    expect(open.size).toBe(0);
  });
});
