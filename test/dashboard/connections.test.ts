/** What is looked for among those who are connected. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import type { RunningConsumer } from "sluice";
import { findConnections } from "../../src/dashboard/connections.ts";

function running(n: number): RunningConsumer {
  const scope = { namespace: `/room/${n % 2 === 0 ? "den" : "hall"}`, remoteAddress: "127.0.0.1" };
  return { channel: `n-1!c-${n}`, route: "/room/:room", scope: scope as never, user: `u-${n}`, ageMs: 1.6 };
}

test("the newest are shown, all are counted, and of two searches each finds its own", async () => {
  const all = Array.from({ length: 230 }, (_, n) => running(n));
  const found = await findConnections(all, ["", "/room/hall", "nobody", ""]);
  expect([...found].map(([words, { total, connections }]) => [words, total, connections.length])).toEqual([
    ["", 230, 50],
    ["/room/hall", 115, 50],
    ["nobody", 0, 0],
  ]);
  expect(found.get("")?.connections[0]).toEqual({
    ...{ channel: "n-1!c-229", route: "/room/:room", namespace: "/room/hall" },
    ...{ user: "u-229", address: "127.0.0.1", ageMs: 2 },
  });
  expect(found.get("")?.connections.at(-1)?.user).toBe("u-180");
});

test("what is shown of each is cut", async () => {
  const long = { ...running(1), user: "u".repeat(1_000) };
  expect((await findConnections([long], [""])).get("")?.connections[0]?.user).toHaveLength(120);
});

test("among many others have their turn meanwhile", async () => {
  let seen = 0;
  const many = (function* () {
    for (; seen < 5_000; seen += 1) yield running(seen);
  })();
  const searching = findConnections(many, ["nobody"]);
  await nextTurn();
  expect(seen).toBeLessThan(2_000);
  await searching;
  expect(seen).toBe(5_000);
});
