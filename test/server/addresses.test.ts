import { expect, test } from "@jest/globals";
import { Addresses } from "../../src/server/addresses.ts";

test("an address has room for so many connections, and is forgotten when it is of no more interest", () => {
  const addresses = new Addresses(2, 1_000);
  const first = addresses.enter("10.0.0.1");
  addresses.enter("10.0.0.1");
  expect(addresses.hasRoom("10.0.0.1")).toBe(false);
  expect(addresses.hasRoom("10.0.0.2")).toBe(true);
  first.leave();
  first.leave();
  expect(addresses.hasRoom("10.0.0.1")).toBe(true);
  expect(addresses.connections).toBe(1);
});

test("coming back does not refill the allowance of new groups", () => {
  const addresses = new Addresses(10, 1);
  const before = addresses.enter("10.0.0.1");
  expect([before.newGroups.take(), before.newGroups.take()]).toEqual([true, false]);
  before.leave();
  expect(addresses.enter("10.0.0.1").newGroups.take()).toBe(false);
});
