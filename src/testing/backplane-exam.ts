/**
 * The exam that every backplane passes. It needs no test runner: each case is a name and a function that
 * throws when the promise in its name is broken.
 *
 * @example
 * for (const { name, run } of backplaneExam(makeCluster)) test(name, run);
 */
import assert from "node:assert/strict";
import type { Backplane } from "../index.ts";

/** Several backplanes that reach each other, on a carrier of their own. */
export interface BackplaneCluster {
  /** Another node; not open yet. */
  node(): Backplane;
  /** Closes what is left of it. */
  close(): Promise<void>;
}

/** One promise, and what proves it: `run` rejects if it is broken. */
export interface ExamCase {
  readonly name: string;
  run(): Promise<void>;
}

interface Heard {
  readonly topic: string;
  readonly text: string;
}

/** One open node and what it has heard. */
class Listener {
  readonly heard: Heard[] = [];
  readonly troubles: string[] = [];
  readonly backplane: Backplane;
  #wake: () => void = () => {};

  constructor(backplane: Backplane) {
    this.backplane = backplane;
  }

  async open(): Promise<this> {
    await this.backplane.open({
      hear: (topic, text) => {
        this.heard.push({ topic, text });
        this.#wake();
      },
      dropped: (topic, count) => this.troubles.push(`dropped ${count} of ${topic}`),
      lost: ({ topic, missed }) => this.troubles.push(`lost ${missed} of ${topic}`),
      down: (reason) => this.troubles.push(`down: ${reason}`),
      unheard() {},
      up() {},
    });
    return this;
  }

  /** Resolves when it has left. */
  say(topic: string, text: string): Promise<void> {
    this.backplane.publish(topic, () => text);
    return this.backplane.flush();
  }

  /** Waits until a text has been heard, and returns all texts of its topic so far. */
  async until(topic: string, text: string, timeoutMs = 5_000): Promise<readonly string[]> {
    const deadline = performance.now() + timeoutMs;
    while (!this.heard.some((heard) => heard.topic === topic && heard.text === text)) {
      const left = deadline - performance.now();
      assert.ok(left > 0, `"${text}" did not arrive on "${topic}" within ${timeoutMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.texts(topic);
  }

  texts(topic: string): readonly string[] {
    return this.heard.filter((heard) => heard.topic === topic).map((heard) => heard.text);
  }
}

/** The exam for backplanes: give each case to your test runner, as `test(name, run)`. */
export function backplaneExam(makeCluster: () => BackplaneCluster | Promise<BackplaneCluster>): ExamCase[] {
  const exam: ExamCase[] = [];
  const promise = (name: string, run: (join: () => Promise<Listener>) => Promise<void>) => {
    exam.push({
      name,
      async run() {
        const cluster = await makeCluster();
        try {
          await run(() => new Listener(cluster.node()).open());
        } finally {
          await cluster.close();
        }
      },
    });
  };

  promise("a node hears what another publishes once its subscription is confirmed", async (join) => {
    const [ann, bob] = [await join(), await join()];
    await bob.backplane.subscribe("t");
    await ann.say("t", "hello");
    assert.deepEqual(await bob.until("t", "hello"), ["hello"]);
  });

  promise("a node never hears itself", async (join) => {
    const [ann, bob] = [await join(), await join()];
    await ann.backplane.subscribe("t");
    await bob.backplane.subscribe("t");
    await ann.say("t", "mine");
    await bob.until("t", "mine");
    await bob.say("t", "yours");
    assert.deepEqual(await ann.until("t", "yours"), ["yours"]);
  });

  promise("what one node publishes to a topic arrives in order", async (join) => {
    const [ann, bob] = [await join(), await join()];
    await bob.backplane.subscribe("t");
    const texts = Array.from({ length: 500 }, (_, i) => `m${i}`);
    await Promise.all(texts.map((text) => ann.say("t", text)));
    assert.deepEqual(await bob.until("t", "m499"), texts);
  });

  promise("a node hears the topics that are open there, and no others", async (join) => {
    const [ann, bob] = [await join(), await join()];
    await bob.backplane.subscribe("open");
    await ann.say("closed", "no");
    await ann.say("open", "yes");
    await bob.until("open", "yes");
    assert.deepEqual(bob.heard, [{ topic: "open", text: "yes" }]);
  });

  promise("after unsubscribe nothing more is heard, and subscribing again hears again", async (join) => {
    const [ann, bob] = [await join(), await join()];
    await bob.backplane.subscribe("t");
    await bob.backplane.subscribe("marker");
    await ann.say("t", "first");
    await bob.until("t", "first");
    await bob.backplane.unsubscribe("t");
    await ann.say("t", "missed");
    await ann.say("marker", "after");
    await bob.until("marker", "after");
    await bob.backplane.subscribe("t");
    await ann.say("t", "second");
    assert.deepEqual(await bob.until("t", "second"), ["first", "second"]);
  });

  promise("all nodes that subscribe hear, each once", async (join) => {
    const [ann, bob, cid] = [await join(), await join(), await join()];
    await Promise.all([bob.backplane.subscribe("t"), cid.backplane.subscribe("t")]);
    await ann.say("t", "one");
    await ann.say("t", "two");
    assert.deepEqual(await bob.until("t", "two"), ["one", "two"]);
    assert.deepEqual(await cid.until("t", "two"), ["one", "two"]);
  });

  promise("any text arrives as it was", async (join) => {
    const [ann, bob] = [await join(), await join()];
    await bob.backplane.subscribe("t");
    const texts = ["", "é😀\u0000\n\r\u2028", '{"json":true}', "x".repeat(200_000)];
    for (const text of texts) await ann.say("t", text);
    await ann.say("t", "end");
    assert.deepEqual(await bob.until("t", "end"), [...texts, "end"]);
  });

  promise("a node that has closed hears nothing and does not disturb the others", async (join) => {
    const [ann, bob, cid] = [await join(), await join(), await join()];
    await Promise.all([bob.backplane.subscribe("t"), cid.backplane.subscribe("t")]);
    await bob.backplane.close();
    await bob.backplane.close();
    await ann.say("t", "late");
    await cid.until("t", "late");
    assert.deepEqual(bob.heard, []);
  });

  promise("subscribing on a closed node is refused, not left hanging", async (join) => {
    const ann = await join();
    await ann.backplane.close();
    await assert.rejects(async () => ann.backplane.subscribe("t"));
  });

  return exam;
}
