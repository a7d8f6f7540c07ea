/** Pins what the hub relies on in the adapter, so that an upgrade that changes it fails loudly. */
import { beforeEach, describe, expect, test } from "@jest/globals";
import { type HubClients, RedisHub } from "../../src/redis/redis-hub.ts";

type Listen = (message: Buffer, channel: Buffer) => void;

/** A Redis in this process that notes what is asked of it and answers when it is told to. */
class NotingRedis {
  readonly asked: string[] = [];
  readonly listeners = new Map<string, Set<Listen>>();
  #answers: (() => void)[] = [];
  failWith: Error | undefined;

  client(): HubClients {
    const own = new Map<string, Listen>();
    return {
      sPublish: (channel, message) => {
        this.asked.push(`publish ${channel}`);
        const bytes = Buffer.from(message as Buffer);
        const listeners = [...(this.listeners.get(channel) ?? [])];
        for (const listen of listeners) listen(bytes, Buffer.from(channel));
        return this.#answer(listeners.length);
      },
      sSubscribe: (channel, listen) => {
        this.asked.push(`subscribe ${channel}`);
        own.set(channel, listen);
        this.listeners.set(channel, (this.listeners.get(channel) ?? new Set()).add(listen));
        return this.#answer(undefined);
      },
      sUnsubscribe: (channel) => {
        this.asked.push(`unsubscribe ${channel}`);
        this.listeners.get(channel)?.delete(own.get(channel) as Listen);
        return this.#answer(undefined);
      },
    };
  }

  answer(): void {
    for (const answer of this.#answers.splice(0)) answer();
  }

  #answer<T>(value: T): Promise<T> {
    const { failWith } = this;
    return new Promise((resolve, reject) => {
      this.#answers.push(() => (failWith === undefined ? resolve(value) : reject(failWith)));
    });
  }
}

let redis: NotingRedis;
let heard: unknown[];

function hub(): RedisHub {
  const made = new RedisHub(redis.client(), "p", (topic, data) => heard.push([topic, ...data]));
  redis.answer();
  redis.asked.length = 0;
  return made;
}

async function hasSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => {
    settled = true;
  };
  promise.then(note, note);
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

beforeEach(() => {
  redis = new NotingRedis();
  heard = [];
});

describe("the hub on the stock adapter", () => {
  test("subscribes to its own channels at once, and is ready when they are confirmed and it may publish", async () => {
    const made = new RedisHub(redis.client(), "p", () => {});
    expect(redis.asked).toEqual(["subscribe p#hub#", expect.stringMatching(/^subscribe p#hub#[0-9a-f]+#$/)]);
    const ready = made.ready();
    expect(await hasSettled(ready)).toBe(false);
    redis.answer();
    await new Promise((resolve) => setImmediate(resolve));
    expect(redis.asked.at(-1)).toBe("publish p#hub#probe#");
    expect(await hasSettled(ready)).toBe(false);
    redis.answer();
    await ready;
  });

  test("asks for one subscription per topic, within the call, and says yes when Redis has", async () => {
    const made = hub();
    const confirmed = made.subscribe("t");
    expect(redis.asked).toEqual(["subscribe p#hub#t#"]);
    expect(made.subscribe("t")).toBe(confirmed);
    expect(await hasSettled(confirmed)).toBe(false);
    redis.answer();
    await confirmed;
    const closed = made.unsubscribe("t");
    expect(redis.asked).toEqual(["subscribe p#hub#t#", "unsubscribe p#hub#t#"]);
    expect(await hasSettled(closed)).toBe(false);
    redis.answer();
    await closed;
    expect(made.topics.size).toBe(0);
  });

  test("publishes once, within the call, to the topic's channel alone, and tells how many others get it", async () => {
    const [ann, bob] = [hub(), hub()];
    void ann.subscribe("t");
    void bob.subscribe("t");
    redis.answer();
    redis.asked.length = 0;
    const sent = ann.publish("t", ["é\u2028", { a: 1 }, [1, null]]);
    expect(redis.asked).toEqual(["publish p#hub#t#"]);
    expect(heard).toEqual([["t", "é\u2028", { a: 1 }, [1, null], expect.any(Uint8Array)]]);
    redis.answer();
    expect(await sent).toBe(1);
    // Not delivered to the sender itself either, which the adapter does only now.
    expect(await hasSettled(sent)).toBe(true);
    expect(heard).toHaveLength(1);
  });

  test("hears nothing of a topic from the moment it is closed", () => {
    const [ann, bob] = [hub(), hub()];
    void bob.subscribe("t");
    void bob.unsubscribe("t");
    void ann.publish("t", ["late"]);
    expect(heard).toEqual([]);
  });

  test("a failure reaches whoever asked, nothing is unhandled, and the topic can be tried again", async () => {
    const made = hub();
    redis.failWith = new Error("no");
    const [subscribed, published] = [made.subscribe("t"), made.publish("t", ["x"])];
    redis.answer();
    await expect(subscribed).rejects.toThrow("no");
    await expect(published).rejects.toThrow("no");
    await new Promise((resolve) => setImmediate(resolve));
    redis.failWith = undefined;
    redis.answer();
    const again = made.subscribe("t");
    redis.answer();
    await again;
    expect(made.topics.size).toBe(1);
  });
});
