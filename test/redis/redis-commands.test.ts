import { afterEach, beforeEach, expect } from "@jest/globals";
import { RedisCommands, RedisScript } from "sluice/redis";
import { RedisServer, redisTest, until } from "./redis-server.ts";

const COUNT = new RedisScript("return {redis.call('INCRBY', KEYS[1], ARGV[1]), 'é', ARGV[2]}");

let redis: RedisServer;
let commands: RedisCommands;
let states: string[];

async function open(commandTimeoutMs: number): Promise<void> {
  states = [];
  commands = new RedisCommands(
    { url: redis.url, commandTimeoutMs, heartbeatMs: 50, maxUnderWay: 50 },
    {
      // Told again when the reason changes.
      down: () => states.at(-1) === "down" || states.push("down"),
      up: () => states.push("up"),
    },
  );
  await commands.open();
}

beforeEach(async () => {
  redis = await RedisServer.start();
  await open(200);
});
afterEach(async () => {
  commands.close();
  await redis.close();
});

redisTest(
  "a script runs, is known by its hash, and runs again on a server that has forgotten it",
  async () => {
    expect(await commands.run(COUNT, ["n"], [2, "a b"])).toEqual([2, "é", "a b"]);
    expect(await commands.run(COUNT, ["n"], [2, "x"])).toEqual([4, "é", "x"]);
    await commands.command("", ["SCRIPT", "FLUSH"]);
    expect(await commands.run(COUNT, ["n"], [1, "x"])).toEqual([5, "é", "x"]);
  },
);

redisTest("what Redis refuses is thrown as it is, and the connection stays", async () => {
  await expect(commands.command("n", ["LPUSH"])).rejects.toThrow(/wrong number of arguments/);
  expect([commands.isUp, states]).toEqual([true, []]);
});

redisTest("without Redis a command is refused at once, and works again by itself", async () => {
  await redis.end();
  await until(() => states.length === 1);
  await expect(commands.run(COUNT, ["n"], [1, "x"])).rejects.toMatchObject({ code: "layer_unavailable" });
  await redis.begin();
  await until(() => states.length === 2);
  expect(await commands.run(COUNT, ["n"], [1, "x"])).toEqual([1, "é", "x"]);
});

redisTest("on a new server, which knows no scripts, none overtakes another", async () => {
  commands.close();
  // Nothing here is about a Redis that is slow, on a machine that may be.
  await open(5_000);
  const NOTE = new RedisScript("return redis.call('RPUSH', KEYS[1], ARGV[1])");
  await commands.run(NOTE, ["before"], ["x"]);
  for (let round = 1; round <= 5; round++) {
    await redis.end();
    await until(() => states.length === 2 * round - 1);
    await redis.begin();
    await until(() => states.length === 2 * round);
    const running: Promise<unknown>[] = [];
    for (let i = 0; i < 200; i++) {
      running.push(commands.run(NOTE, ["noted"], [i]).catch(() => {}));
      // A little later each, so that answers come between.
      if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      if (running.length >= 40) await Promise.all(running.splice(0));
    }
    await Promise.all(running);
    const noted = (await commands.command("noted", ["LRANGE", "noted", "0", "-1"])) as string[];
    expect(noted).toEqual(Array.from({ length: 200 }, (_, i) => String(i)));
  }
});

redisTest("a frozen Redis is noticed by a command that gets no answer, or by the heartbeat", async () => {
  redis.freeze();
  await expect(commands.run(COUNT, ["n"], [1, "x"])).rejects.toMatchObject({ code: "layer_unavailable" });
  expect(states).toEqual(["down"]);
  redis.thaw();
  await until(() => states.length === 2);
  redis.freeze();
  await until(() => states.length === 3);
  redis.thaw();
  await until(() => states.length === 4);
});

redisTest("so many commands at once and no more", async () => {
  const answers = await Promise.allSettled(
    Array.from({ length: 60 }, () => commands.run(COUNT, ["n"], [1, "x"])),
  );
  expect(answers.filter(({ status }) => status === "rejected")).toHaveLength(10);
});
