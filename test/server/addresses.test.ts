import { expect, test } from "@jest/globals";
import { Addresses } from "../../src/server/addresses.ts";
import { TokenBucket } from "../../src/token-bucket.ts";

function allow(perSecond: number) {
  return () => ({ newGroups: new TokenBucket(perSecond), replayed: new TokenBucket(perSecond) });
}

test("an address has room for so many connections, and is forgotten when it is of no more interest", () => {
  const addresses = new Addresses(2, allow(1_000));
  const first = addresses.enter("10.0.0.1");
  addresses.enter("10.0.0.1");
  expect(addresses.hasRoom("10.0.0.1")).toBe(false);
  expect(addresses.hasRoom("10.0.0.2")).toBe(true);
  first.leave();
  first.leave();
  expect(addresses.hasRoom("10.0.0.1")).toBe(true);
  expect(addresses.connections).toBe(1);
});

test("coming back does not refill what its clients may still do", () => {
  const addresses = new Addresses(10, allow(1));
  const before = addresses.enter("10.0.0.1");
  expect([before.allowances.newGroups.take(), before.allowances.newGroups.take()]).toEqual([true, false]);
  before.leave();
  const { newGroups, replayed } = addresses.enter("10.0.0.1").allowances;
  expect([newGroups.take(), replayed.take(), replayed.take()]).toEqual([false, true, false]);
});
