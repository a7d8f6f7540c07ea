import { expect, test } from "@jest/globals";
import { ConfigurationError } from "sluice";
import { RedisRevocations, RedisSessions } from "sluice/middleware";

function faultsOf(make: () => unknown): readonly string[] {
  try {
    make();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults;
    throw error;
  }
  throw new Error("nothing was wrong");
}

test.each([
  ["sessions", RedisSessions],
  ["revocations", RedisRevocations],
] as const)(
  "wrong options of %s in Redis are refused, all at once, and the defaults are right",
  (what, Store) => {
    for (const prefix of ["", "{a}", "a b", "a*", "x".repeat(61)]) {
      expect(faultsOf(() => new Store({ prefix }))).toEqual([
        `redis.prefix must be 1 to 60 ASCII letters, digits or any of . _ : - for ${what}`,
      ]);
    }
    const wrong = { prefix: "{a}", hots: "cache", heartbeatMs: 0 } as never;
    expect(faultsOf(() => new Store(wrong))).toEqual([
      expect.stringContaining("redis.prefix must be"),
      expect.stringContaining('did you mean "host"'),
      expect.stringContaining("redis.heartbeatMs must be"),
    ]);
    expect(faultsOf(() => new Store({ prefix: 5 } as never))).toEqual([
      "redis.prefix must be a string, not 5",
    ]);
    new Store({ prefix: "a.shop_1:eu-2" });
    new Store();
  },
);

test("how long revocations are kept is checked with the rest", () => {
  expect(faultsOf(() => new RedisRevocations({ keepMs: 0, prefix: "" }))).toHaveLength(2);
});
