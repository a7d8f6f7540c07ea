import { describe, expect, test } from "@jest/globals";
import { RedisBackplane, type RedisBackplaneOptions } from "sluice/redis";
import { describeTarget, type RedisOptions, redisTarget } from "../../src/redis/redis-options.ts";

const target = (options: RedisOptions) => {
  const { at, username, password, database, tls } = redisTarget(options);
  return { ...at, username, password, database, tls };
};
const url = (text: string) => target({ url: text });

describe("where Redis is", () => {
  test("without a word it is here", () => {
    expect(target({})).toEqual({
      kind: "server",
      host: "127.0.0.1",
      port: 6379,
      username: undefined,
      password: undefined,
      database: 0,
      tls: undefined,
    });
  });

  test.each([
    ["redis://cache", { host: "cache", port: 6379, tls: undefined }],
    ["redis://cache:7000/2", { host: "cache", port: 7000, database: 2 }],
    ["redis://[::1]:7000", { host: "::1", port: 7000 }],
    ["rediss://cache", { host: "cache", tls: {} }],
    ["redis://:secret@cache", { username: undefined, password: "secret" }],
    ["redis://ann:a:b@cache", { username: "ann", password: "a:b" }],
    ["redis://:p#a$s%w/o:r@d?@cache:1", { password: "p#a$s%w/o:r@d?", host: "cache", port: 1 }],
    ["redis://:p%23a%40b@cache", { password: "p#a@b" }],
    ["redis://:100%@cache", { password: "100%" }],
    ["unix:///run/redis.sock", { kind: "socket", path: "/run/redis.sock" }],
    ["unix:///run/redis@1.sock", { kind: "socket", path: "/run/redis@1.sock", username: undefined }],
    ["unix://:a/b@/run/redis.sock", { kind: "socket", path: "/run/redis.sock", password: "a/b" }],
    [
      "redis+sentinel://:pw@s1,s2:26380/main/3",
      {
        kind: "sentinel",
        master: "main",
        database: 3,
        password: "pw",
        nodes: [
          { host: "s1", port: 26_379 },
          { host: "s2", port: 26_380 },
        ],
      },
    ],
    [
      "rediss+cluster://n1,n2:7001",
      {
        kind: "cluster",
        tls: {},
        nodes: [
          { host: "n1", port: 6379 },
          { host: "n2", port: 7001 },
        ],
      },
    ],
  ])("%s", (text, expected) => {
    expect(url(text)).toMatchObject(expected);
  });

  test("a part given apart wins over the URL's", () => {
    const options = {
      url: "redis://ann:a@cache:1/1",
      password: "b",
      port: 2,
      database: 3,
      tls: { ca: "pem" },
    };
    expect(target(options)).toMatchObject({
      username: "ann",
      password: "b",
      host: "cache",
      port: 2,
      database: 3,
      tls: { ca: "pem" },
    });
    expect(target({ url: "redis+sentinel://s1/main", sentinel: { password: "c" } })).toMatchObject({
      master: "main",
      password: undefined,
    });
    expect(redisTarget({ url: "redis+sentinel://s1/main", sentinel: { password: "c" } }).at).toMatchObject({
      password: "c",
    });
  });

  test("what is left undefined is not given", () => {
    expect(target({ url: "redis://:a@cache", password: undefined } as never)).toMatchObject({
      password: "a",
    });
  });

  test("people are told where and as whom, and never the password", () => {
    expect(describeTarget(redisTarget({ url: "redis://ann:pw@[::1]:7000" }))).toBe(
      'Redis at [::1]:7000 as user "ann"',
    );
    expect(describeTarget(redisTarget({ url: "unix:///run/redis.sock" }))).toBe("Redis at /run/redis.sock");
    expect(describeTarget(redisTarget({ url: "redis+sentinel://:pw@s1,s2/main" }))).toBe(
      'Redis "main" of the sentinels s1:26379, s2:26379',
    );
    expect(describeTarget(redisTarget({ url: "redis+cluster://:pw@n1,n2" }))).toBe(
      "the Redis Cluster of n1:6379, n2:6379",
    );
  });
});

describe("wrong options", () => {
  const faults = (options: object): readonly string[] => {
    try {
      new RedisBackplane(options as RedisBackplaneOptions);
    } catch (error) {
      return (error as { faults: readonly string[] }).faults;
    }
    return [];
  };

  test.each([
    [{ url: "http://:pw@cache" }, /unknown scheme; it looks like redis:/],
    [{ url: "redis://a b" }, /host that is none/],
    [{ url: "redis://host?password=x" }, /host that is none/],
    [{ url: "redis://top-secret@cache" }, /a user without a password/],
    [{ prefix: "{app}" }, /redis.prefix must be/],
    [{ url: "redis://cache:port" }, /port that is no number/],
    [{ url: "redis://cache:70000" }, /port that is not from 1 to 65535/],
    [{ url: "redis://cache/x" }, /no database number/],
    [{ url: "redis://one,two" }, /several hosts/],
    [{ url: 5 }, /must be text/],
    [{ url: "redis://cache", socketPath: "/s" }, /host and port and socketPath: give one/],
    [{ url: "redis+sentinel://s1" }, /sentinel.master must be the name/],
    [{ sentinel: { master: "m" } }, /sentinel.nodes must list/],
    [{ cluster: { nodes: [] } }, /cluster.nodes must list/],
    [{ url: "redis+cluster://n1/2" }, /database 0 only/],
    [{ database: -1 }, /redis.database/],
    [{ password: 5 }, /redis.password must be text, not number/],
    [{ tls: "yes" }, /redis.tls must be/],
    [{ hots: "cache" }, /did you mean "host"/],
    [{ prefix: "" }, /redis.prefix must be/],
    [{ prefix: "a b" }, /redis.prefix must be/],
    [{ heartbeatMs: 0 }, /redis.heartbeatMs must be/],
    [{ limits: { maxWaitingMs: -1 } }, /redis.limits.maxWaitingMs must be/],
  ])("%j", (options, fault) => {
    expect(faults(options)).toEqual([expect.stringMatching(fault)]);
  });

  test("all are told at once, and none of them tells a secret", () => {
    const found = faults({ url: "redis://:top-secret@a b", prefix: "", port: 0 });
    expect(found).toHaveLength(3);
    expect(found.join()).not.toContain("secret");
  });
});
