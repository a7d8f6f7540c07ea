import { expect } from "@jest/globals";
import { RedisBroker } from "sluice/tasks/redis";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd } from "../server/live-server.ts";

redisTest("attempts that are due at once do not wait for the next look into Redis", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const broker = new RedisBroker({ url: redis.url });
  const hear = () => {};
  await broker.open({ down: hear, up: hear, failed: hear, stalled: hear });
  atEnd(() => broker.close(1_000));
  let ended = () => {};
  await broker.consume("default", { concurrency: 10 }, async ({ attempt }) => {
    // The worker is asleep by now, and this very job is to wake it.
    await new Promise((resolve) => setTimeout(resolve, 2));
    if (attempt === 1) return { kind: "retry", afterMs: 1, error: '"not yet"' };
    setImmediate(() => ended());
    return { kind: "done", result: "1" };
  });
  const lateMs: number[] = [];
  for (let i = 0; i < 400; i++) {
    const done = new Promise<void>((resolve) => {
      ended = resolve;
    });
    const beganAt = performance.now();
    const job = { queue: "default", task: "t", body: "{}", priority: 3, runAt: 0, keepMs: 0 } as const;
    await broker.add({ ...job, id: `default.${i}` });
    await done;
    lateMs.push(performance.now() - beganAt);
  }
  // A wake that was lost is made up for after five seconds.
  expect(lateMs.filter((ms) => ms > 4_000)).toEqual([]);
});
