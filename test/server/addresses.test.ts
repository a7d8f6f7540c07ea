import { expect, test } from "@jest/globals";
import { Addresses, keyOf } from "../../src/server/addresses.ts";

test.each([
  ["10.0.0.1", "10.0.0.1"],
  ["::ffff:10.0.0.1", "10.0.0.1"],
  ["::1", "0:0:0:0::/64"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:0DB8:0001:0002::9", "2001:db8:1:2::/64"],
  ["2001:db8::5", "2001:db8:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["", ""],
])("%s is counted as %s", (address, key) => {
  expect(keyOf(address)).toBe(key);
});

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
