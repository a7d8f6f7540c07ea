import { expect, test } from "@jest/globals";
import { Seats } from "../../src/layer/seats.ts";
import { Addresses, type AddressPlace } from "../../src/server/addresses.ts";
import { TokenBucket } from "../../src/token-bucket.ts";

function allow(perSecond: number) {
  return () => ({ newGroups: new TokenBucket(perSecond), replayed: new TokenBucket(perSecond) });
}

async function entered(addresses: Addresses, address = "10.0.0.1"): Promise<AddressPlace> {
  const place = await addresses.enter(address);
  if (place === undefined) throw new Error("there was no room");
  return place;
}

test("an address has room for so many connections, and is forgotten when it is of no more interest", async () => {
  const seats = new Seats("node", undefined);
  const addresses = new Addresses(2, seats, allow(1_000));
  const first = await entered(addresses);
  await entered(addresses);
  expect(await addresses.enter("10.0.0.1")).toBeUndefined();
  const other = await entered(addresses, "10.0.0.2");
  first.leave();
  first.leave();
  other.leave();
  expect(addresses.connections).toBe(1);
  expect(seats.size).toBe(1);
  await entered(addresses);
  expect(await addresses.enter("10.0.0.1")).toBeUndefined();
});

test("coming back does not refill what its clients may still do", async () => {
  const addresses = new Addresses(10, new Seats("node", undefined), allow(1));
  const before = await entered(addresses);
  expect([before.allowances.newGroups.take(), before.allowances.newGroups.take()]).toEqual([true, false]);
  before.leave();
  const { newGroups, replayed } = (await entered(addresses)).allowances;
  expect([newGroups.take(), replayed.take(), replayed.take()]).toEqual([false, true, false]);
});
