import { afterAll, afterEach, beforeAll, describe, expect } from "@jest/globals";
import { createClient } from "redis";
import { RedisHistory, type RedisHistoryOptions } from "sluice/history";
import { historyExam } from "sluice/testing";
import { hasRedis, RedisGroup, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { seeded } from "../seeded.ts";

const PASSWORD = "p#a$s%w/o:r@d?";
const KEPT = { size: 100, ttlMs: 60_000 };
const histories: RedisHistory[] = [];

function historyAt(options: RedisHistoryOptions): RedisHistory {
  const history = new RedisHistory({ connectTimeoutMs: 3_000, heartbeatMs: 100, ...options });
  histories.push(history);
  return history;
}

async function openedAt(options: RedisHistoryOptions): Promise<RedisHistory> {
  const history = historyAt(options);
  await history.open();
  return history;
}

/** What a history says that cannot begin. */
async function faultOf(options: RedisHistoryOptions): Promise<string> {
  const error = await historyAt(options)
    .open()
    .then(
      () => undefined,
      (error: Error) => error,
    );
  expect(error).toMatchObject({ code: "configuration" });
  expect(error?.message).not.toContain(PASSWORD);
  return (error as Error).message;
}

async function asking<T>(
  { port }: RedisServer,
  ask: (command: (...words: string[]) => Promise<unknown>) => Promise<T>,
  password?: string,
): Promise<T> {
  const client = await createClient({
    socket: { port },
    ...(password === undefined ? {} : { password }),
  }).connect();
  try {
    return await ask((...words) => client.sendCommand(words));
  } finally {
    client.destroy();
  }
}

/** Waits until an append works again. */
async function untilBack(history: RedisHistory): Promise<void> {
  await until(async () => {
    try {
      await history.append("is.it.back", "x", { size: 1, ttlMs: 1 });
      return true;
    } catch (error) {
      expect(error).toMatchObject({ code: "layer_unavailable" });
      return false;
    }
  });
}

afterEach(async () => {
  await Promise.all(histories.splice(0).map((history) => history.close()));
});

describe("one server", () => {
  let redis: RedisServer;

  beforeAll(async () => {
    if (hasRedis) redis = await RedisServer.start();
  });
  afterAll(() => redis?.close());

  let clusters = 0;
  const exam = historyExam((bounds) => {
    clusters += 1;
    const prefix = `exam-${clusters}`;
    return {
      node: () => historyAt({ url: redis.url, prefix, ...bounds }),
      forget: () => asking(redis, async (command) => void (await command("FLUSHALL"))),
      close: async () => {},
    };
  });
  for (const { name, run } of exam) redisTest(name, run);

  redisTest("the keys of a group are named as told, share a hash tag, and all expire", async () => {
    const history = await openedAt({ url: redis.url, prefix: "keys" });
    await history.append("chat.den", "x", { size: 5, ttlMs: 1_000, idempotencyKey: "k".repeat(1_000) });
    await asking(redis, async (command) => {
      const keys = (await command("KEYS", "keys:{chat.den}:*")) as string[];
      expect(keys.map((key) => key.replace(/key:[\w-]{22}$/, "key:<hash>")).sort()).toEqual([
        "keys:{chat.den}:key:<hash>",
        "keys:{chat.den}:log",
        "keys:{chat.den}:meta",
      ]);
      for (const key of keys) expect(Number(await command("PTTL", key))).toBeGreaterThan(0);
      // The position outlives the entries by far.
      expect(Number(await command("PTTL", "keys:{chat.den}:meta"))).toBeGreaterThan(600_000_000);
    });
  });

  redisTest("after their time nothing is left in Redis, nor of opening", async () => {
    const history = await openedAt({
      url: redis.url,
      prefix: "gone",
      positionTtlMs: 50,
      idempotencyTtlMs: 50,
    });
    for (let i = 0; i < 50; i++) {
      await history.append(`g.${i}`, "x", { size: 5, ttlMs: 5, idempotencyKey: "k" });
    }
    await asking(redis, (command) =>
      until(async () => ((await command("KEYS", "gone:*")) as string[]).length === 0),
    );
  });

  describe("the register of logs", () => {
    const APPENDED = "{sluice.logs}:appended";
    const registered = async (prefix: string) =>
      asking(
        redis,
        async (command) => (await command("ZRANGE", `${prefix}:${APPENDED}`, "0", "-1")) as string[],
      );
    const soon = async (prefix: string, groups: readonly string[]) => {
      await until(async () => (await registered(prefix)).toSorted().join() === groups.toSorted().join());
      await asking(redis, async (command) => {
        expect(await command("ZCARD", `${prefix}:{sluice.logs}:until`)).toBe(groups.length);
      });
    };

    redisTest("has each group with a log once, and expires with the last of them", async () => {
      const history = await openedAt({ url: redis.url, prefix: "listed" });
      for (const group of ["a", "b", "a"]) await history.append(group, "x", KEPT);
      await history.append("b", "x", { ...KEPT, ttlMs: 100_000_000 });
      await soon("listed", ["a", "b"]);
      await until(() =>
        asking(redis, async (command) => {
          const ttls = [APPENDED, "{sluice.logs}:until"].map((key) => command("PTTL", `listed:${key}`));
          return (await Promise.all(ttls)).every((ttl) => Number(ttl) > 990_000_000);
        }),
      );
    });

    redisTest("learns later of a log whose node ended before it could tell", async () => {
      const history = await openedAt({ url: redis.url, prefix: "crashed" });
      for (let i = 0; i < 2; i++) await history.append("g", "x", KEPT);
      await soon("crashed", ["g"]);
      await asking(redis, (command) => command("DEL", `crashed:${APPENDED}`, "crashed:{sluice.logs}:until"));
      for (let i = 0; i < 2; i++) await history.append("g", "x", KEPT);
      await soon("crashed", ["g"]);
    });

    redisTest("loses those whose time is up when another begins, however few there are", async () => {
      const history = await openedAt({ url: redis.url, prefix: "over", positionTtlMs: 50 });
      // The longer entries live, the longer their position: of these, longer than the test.
      await history.append("old", "x", KEPT);
      for (const group of ["a", "b"]) await history.append(group, "x", { size: 1, ttlMs: 1 });
      await until(async () => (await history.tops(["a", "b"])).every((top) => top === undefined));
      await history.append("c", "x", KEPT);
      await soon("over", ["old", "c"]);
    });

    redisTest("finds that a log is gone before it forgets one that is there", async () => {
      const history = await openedAt({ url: redis.url, prefix: "lost", maxGroups: 3 });
      for (const group of ["a", "b", "c"]) await history.append(group, "x", KEPT);
      // As a node leaves it that ends in the midst of forgetting.
      await asking(redis, (command) => command("DEL", "lost:{c}:meta"));
      await history.append("d", "x", KEPT);
      await soon("lost", ["a", "b", "d"]);
      expect((await history.tops(["a", "b", "d"])).map((top) => top?.offset)).toEqual([1, 1, 1]);
    });

    redisTest("is not told of each append, and yet the one idle longest goes", async () => {
      const history = await openedAt({ url: redis.url, prefix: "lazy", maxGroups: 41 });
      const groups = Array.from({ length: 40 }, (_, i) => `g.${i}`);
      const append = async (group: string, times: number) => {
        let at = 0;
        for (let i = 0; i < times; i++) ({ at } = await history.append(group, "x", KEPT));
        // The next comes later by the store's clock.
        for (let now = at; now <= at; ) now = (await history.append("clock", "x", KEPT)).at;
      };
      for (const group of groups) await append(group, 4);
      await soon("lazy", ["clock", ...groups]);
      // Of a fifth it is not told.
      for (const group of groups.slice(0, 30)) await append(group, 1);
      for (let i = 0; i < 5; i++) {
        await history.append(`new.${i}`, "x", KEPT);
        await until(async () => (await history.tops([`g.${30 + i}`]))[0] === undefined);
      }
      const left = [...groups.slice(0, 30), ...groups.slice(35)];
      await soon("lazy", ["clock", ...left, ...Array.from({ length: 5 }, (_, i) => `new.${i}`)]);
      expect((await history.tops(left)).filter((top) => top === undefined)).toEqual([]);
    });

    redisTest("has all logs that there are, whoever begins and forgets them at once", async () => {
      const options = { url: redis.url, prefix: "busy", maxGroups: 5 };
      const nodes = await Promise.all([openedAt(options), openedAt(options), openedAt(options)]);
      const groups = Array.from({ length: 12 }, (_, i) => `g.${i}`);
      const random = seeded(11);
      const speak = async (history: RedisHistory) => {
        for (let i = 0; i < 400; i++) {
          await history.append(groups[Math.floor(random() * groups.length)] as string, "x", KEPT);
        }
      };
      await Promise.all(nodes.map(speak));
      await until(async () => {
        const names = await registered("busy");
        const tops = (await nodes[0]?.tops(groups)) ?? [];
        const living = groups.filter((_, i) => tops[i] !== undefined);
        return living.length <= 5 && names.toSorted().join() === living.toSorted().join();
      });
    });

    redisTest("stops no append while it fails, and is told afterwards", async () => {
      const history = await openedAt({ url: redis.url, prefix: "broken" });
      await asking(redis, (command) => command("SET", `broken:${APPENDED}`, "x"));
      const groups = Array.from({ length: 5 }, (_, i) => `g.${i}`);
      await Promise.all(groups.map((group) => history.append(group, "x", KEPT)));
      expect(await faultOf({ url: redis.url, prefix: "broken" })).toMatch(/WRONGTYPE/);
      await asking(redis, (command) => command("DEL", `broken:${APPENDED}`));
      await until(async () => {
        await history.append("other", "x", KEPT);
        return (await registered("broken")).length === 6;
      });
    });

    redisTest("is told by a program that appends once and closes", async () => {
      const history = await openedAt({ url: redis.url, prefix: "short" });
      await Promise.all(["g", "h"].map((group) => history.append(group, "x", KEPT)));
      await history.close();
      expect(await registered("short")).toEqual(["g", "h"]);
    });
  });

  redisTest("what others wrote in place of a log is an error that says so, and no crash", async () => {
    const history = await openedAt({ url: redis.url, prefix: "weird" });
    const cases: [group: string, ...commands: string[][]][] = [
      ["text", ["SET", "weird:{text}:meta", "x"]],
      ["list", ["RPUSH", "weird:{list}:log", "x"], ["HSET", "weird:{list}:meta", "epoch", "e"]],
      ["half", ["HSET", "weird:{half}:meta", "epoch", "e"]],
      ["word", ["HSET", "weird:{word}:meta", "epoch", "e", "offset", "many", "id", "i"]],
      ["zero", ["HSET", "weird:{zero}:meta", "epoch", "e", "offset", "-5", "id", "i"]],
    ];
    await asking(redis, async (command) => {
      for (const [group, ...commands] of cases) {
        for (const words of commands) await command(...words);
        await expect(history.read(group, 1, 10)).rejects.toThrow(/WRONGTYPE|something else/);
      }
      for (const fields of [
        ["x", "1"],
        ["i", "id", "a", "soon", "t", "x"],
        ["i", "id"],
      ]) {
        await command("DEL", "weird:{g}:log", "weird:{g}:meta");
        await history.append("g", "x", KEPT);
        await command("XADD", "weird:{g}:log", "2-0", ...fields);
        await expect(history.read("g", 1, 10)).rejects.toThrow(/something else than an entry/);
      }
      for (const id of ["2-1", "5-0"]) {
        await command("DEL", "weird:{g}:log", "weird:{g}:meta");
        await history.append("g", "x", KEPT);
        await command("XADD", "weird:{g}:log", id, "i", "id", "a", "1", "t", "x");
        await expect(history.readBefore("g", undefined, 10)).rejects.toThrow(/something else/);
      }
    });
    expect((await history.append("fine", "x", KEPT)).offset).toBe(1);
  });

  redisTest("entries of which the position was lost are not taken for those of the next log", async () => {
    const history = await openedAt({ url: redis.url, prefix: "evicted" });
    const keyed = { ...KEPT, idempotencyKey: "k" };
    await history.append("g", "old", keyed);
    for (let i = 0; i < 2; i++) await history.append("g", "old", KEPT);
    await asking(redis, (command) => command("DEL", "evicted:{g}:meta"));
    expect(await history.read("g", 1, 10)).toEqual({ top: undefined, entries: [] });
    // Nor does its idempotency key hold for the next.
    expect(await history.append("g", "new", keyed)).toMatchObject({ offset: 1, isKnown: false });
    expect((await history.read("g", 1, 10)).entries).toMatchObject([{ offset: 1, text: "new" }]);
  });

  redisTest("a Redis that is full refuses, changes nothing, and takes more when it can", async () => {
    const small = await RedisServer.start();
    const history = await openedAt({ url: small.url });
    await history.append("g", "x", KEPT);
    await asking(small, async (command) => {
      await command("CONFIG", "SET", "maxmemory", "1");
      const full = { code: "layer_unavailable", message: expect.stringContaining("OOM") };
      await expect(history.append("g", "y", { ...KEPT, idempotencyKey: "k" })).rejects.toMatchObject(full);
      await expect(history.append("h", "y", KEPT)).rejects.toMatchObject(full);
      expect(await faultOf({ url: small.url })).toMatch(/can write nothing now.*OOM/);
      expect((await history.read("g", 1, 10)).entries).toHaveLength(1);
      expect((await history.tops(["h"]))[0]).toBeUndefined();
      await command("CONFIG", "SET", "maxmemory", "0");
      expect((await history.append("g", "y", { ...KEPT, idempotencyKey: "k" })).isKnown).toBe(false);
    });
    await small.close();
  });

  redisTest("what the fault says its user needs is enough, and each part of it is needed", async () => {
    const setUser = (...rules: string[]) =>
      asking(redis, (command) =>
        command("ACL", "SETUSER", "sluice", "reset", "on", `>${PASSWORD}`, ...rules),
      );
    const options = { url: redis.url, username: "sluice", password: PASSWORD, prefix: "shop" };
    await setUser();
    const rules = /ACL SETUSER sluice (.*)$/.exec(await faultOf(options))?.[1]?.split(" ") ?? [];
    expect(rules).toContain("~shop:*");
    await setUser(...rules);
    const history = await openedAt(options);
    await history.append("g", "x", { ...KEPT, idempotencyKey: "k" });
    expect((await history.readBefore("g", undefined, 10)).entries).toHaveLength(1);
    await history.close();
    for (const rule of rules.filter((part) => /^[+~]/.test(part) && part !== "+hello")) {
      await setUser(...rules.filter((other) => other !== rule));
      expect(`without ${rule}: ${await faultOf(options)}`).toMatch(/may not do what is needed/);
    }
  });
});

describe("wrong options and what is not there", () => {
  redisTest("are told, all at once, with what to do", async () => {
    expect(() => historyAt({ prefix: "a{b}", positionTtlMs: -1, url: "http://x" })).toThrow(
      /positionTtlMs[\s\S]*unknown scheme/,
    );
    expect(() => historyAt({ prefix: "a{b}" })).toThrow(/redis\.prefix must be/);
    expect(() => historyAt({ prefx: "a" } as RedisHistoryOptions)).toThrow(/prefx is no option/);
    expect(await faultOf({ port: 1 })).toMatch(/nothing answers/);
  });
});

describe("when Redis goes", () => {
  let redis: RedisServer;

  beforeAll(async () => {
    if (hasRedis) redis = await RedisServer.start();
  });
  afterAll(() => redis?.close());

  redisTest("everything is refused at once, and a new epoch begins on an empty one", async () => {
    const history = await openedAt({ url: redis.url });
    const before = await history.append("g", "x", KEPT);
    await redis.end();
    await until(async () => {
      const outcomes = await Promise.allSettled([
        history.append("g", "x", KEPT),
        history.read("g", 1, 1),
        history.readBefore("g", undefined, 1),
        history.tops(["g", "h"]),
      ]);
      return outcomes.every(
        (outcome) => outcome.status === "rejected" && outcome.reason.code === "layer_unavailable",
      );
    });
    await redis.begin();
    await untilBack(history);
    expect(await history.tops(["g"])).toEqual([undefined]);
    const after = await history.append("g", "y", KEPT);
    expect(after.offset).toBe(1);
    expect(after.epoch).not.toBe(before.epoch);
  });

  redisTest("one that is frozen is as good as gone, and its answers count again when it thaws", async () => {
    const history = await openedAt({ url: redis.url, commandTimeoutMs: 200 });
    const before = await history.append("frozen", "x", KEPT);
    redis.freeze();
    const unavailable = { code: "layer_unavailable" };
    await expect(history.append("frozen", "y", KEPT)).rejects.toMatchObject(unavailable);
    await expect(history.read("frozen", 1, 10)).rejects.toMatchObject(unavailable);
    redis.thaw();
    await untilBack(history);
    const after = await history.append("frozen", "z", KEPT);
    expect(after.epoch).toBe(before.epoch);
    // What was not answered may have been appended.
    expect([2, 3]).toContain(after.offset);
    const { entries } = await history.read("frozen", 1, 10);
    expect(entries.map(({ offset }) => offset)).toEqual(entries.map((_, i) => i + 1));
  });

  redisTest("one that keeps its data on disk goes on where it was", async () => {
    const lasting = await RedisServer.start("--appendonly", "yes", "--appendfsync", "always");
    const history = await openedAt({ url: lasting.url });
    const before = await history.append("g", "x", KEPT);
    await lasting.end();
    await lasting.begin();
    await untilBack(history);
    const after = await history.append("g", "y", KEPT);
    expect([after.epoch, after.offset]).toEqual([before.epoch, 2]);
    expect((await history.read("g", 1, 10)).entries.map(({ text }) => text)).toEqual(["x", "y"]);
    await lasting.close();
  });
});

describe("Sentinel", () => {
  redisTest(
    "after a failover to a replica that lagged, offsets are handed out again with other ids",
    async () => {
      const group = await RedisGroup.sentinel(PASSWORD);
      const [master, replica, sentinel] = group.servers as [RedisServer, RedisServer, RedisServer];
      const history = await openedAt({
        url: `redis+sentinel://:${PASSWORD}@127.0.0.1:${sentinel.port}/mymaster`,
        sentinel: { password: PASSWORD },
        commandTimeoutMs: 300,
        connectTimeoutMs: 1_000,
      });
      for (let i = 0; i < 5; i++) await history.append("g", `old ${i}`, KEPT);
      const length = () => asking(replica, (command) => command("XLEN", "sluice:{g}:log"), PASSWORD);
      await until(async () => Number(await length()) === 5);
      replica.freeze();
      await asking(master, (command) => command("CLIENT", "KILL", "TYPE", "REPLICA"), PASSWORD);
      const lost = await history.append("g", "lost", KEPT);
      await master.end();
      replica.thaw();
      await untilBack(history);
      expect((await history.tops(["g"]))[0]?.offset).toBe(5);
      const next = await history.append("g", "new", KEPT);
      expect([next.epoch, next.offset]).toEqual([lost.epoch, lost.offset]);
      expect(next.id).not.toBe(lost.id);
      const { entries } = await history.read("g", 1, 10);
      expect(entries.map(({ offset }) => offset)).toEqual(entries.map((_, i) => i + 1));
      expect(entries.at(-1)).toMatchObject({ text: "new" });
      await history.close();
      await group.close();
    },
    60_000,
  );
});

describe("a Redis Cluster of three masters", () => {
  let group: RedisGroup;

  beforeAll(async () => {
    if (hasRedis) group = await RedisGroup.cluster(3, 0, "--requirepass", PASSWORD);
  }, 30_000);
  afterAll(() => group?.close());

  const options = () => ({ url: `redis+cluster://${group.hosts}`, password: PASSWORD });
  let clusters = 0;
  const exam = historyExam((bounds) => {
    clusters += 1;
    const prefix = `exam-${clusters}`;
    return {
      node: () => historyAt({ ...options(), prefix, ...bounds }),
      forget: async () => {
        for (const server of group.servers) {
          await asking(server, (command) => command("FLUSHALL"), PASSWORD);
        }
      },
      close: async () => {},
    };
  });
  for (const { name, run } of exam) redisTest(name, run);

  redisTest("groups are spread over its masters", async () => {
    const history = await openedAt({ ...options(), prefix: "spread" });
    for (let i = 0; i < 50; i++) await history.append(`g.${i}`, "x", KEPT);
    for (const server of group.servers) {
      const keys = await asking(server, (command) => command("KEYS", "spread:{g.*"), PASSWORD);
      expect((keys as string[]).length).toBeGreaterThan(0);
    }
  });

  redisTest("a user with few rights is told what it needs here, and that is enough", async () => {
    const setUser = async (...rules: string[]) => {
      for (const server of group.servers) {
        await asking(
          server,
          (command) => command("ACL", "SETUSER", "sluice", "reset", "on", `>${PASSWORD}`, ...rules),
          PASSWORD,
        );
      }
    };
    const few = { ...options(), username: "sluice" };
    await setUser();
    const rules = /ACL SETUSER sluice (.*)$/.exec(await faultOf(few))?.[1]?.split(" ") ?? [];
    await setUser(...rules);
    const history = await openedAt(few);
    for (let i = 0; i < 20; i++) await history.append(`g.${i}`, "x", KEPT);
    await setUser(...rules.filter((rule) => rule !== "+cluster|slots"));
    expect(await faultOf(few)).toMatch(/may not do what is needed/);
  });

  redisTest("a node of it is no single server", async () => {
    const [first] = group.servers;
    const port = first?.port as number;
    const faults = await Promise.allSettled(
      Array.from({ length: 20 }, () => historyAt({ port, password: PASSWORD }).open()),
    );
    const told = faults.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
    expect(told.length).toBeGreaterThan(0);
    for (const { reason } of told) expect(reason.message).toMatch(/part of a cluster/);
  });
});
