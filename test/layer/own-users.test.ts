import { expect, test } from "@jest/globals";
import { MemoryPresence, MemoryPresenceHub, type PresenceListener, type Statement } from "sluice";
import { OwnUsers, type OwnUsersHost } from "../../src/layer/own-users.ts";

const GROUP = "room";
const LISTENER: PresenceListener = {
  logFor: () => undefined,
  down() {},
  restate: async () => {},
  removed: async () => {},
};

class Asked extends MemoryPresence {
  readonly stated: string[] = [];

  override state(group: string, user: string, statement: Statement) {
    this.stated.push(user);
    return super.state(group, user, statement);
  }
}

test("each who leaves a full group has one of those who wait tried again, not all of them", async () => {
  const store = new Asked(new MemoryPresenceHub());
  await store.open("n1", LISTENER);
  const failures: unknown[] = [];
  const host: OwnUsersHost = {
    before: async () => {},
    changed(group, change) {
      if (change?.kind === "leave") own.roomAgain(group);
    },
    unsaid() {},
    failed: (error) => void failures.push(error),
  };
  const own = new OwnUsers(store, 2, host);
  const names = Array.from({ length: 50 }, (_, i) => `user-${i}`);
  for (const name of names) own.joined(GROUP, name, `n1!${name}`, "");
  await own.settled(GROUP);
  expect([store.stated.length, failures.length]).toEqual([50, 1]);
  for (const [i, name] of names.entries()) {
    store.stated.length = 0;
    own.left(GROUP, name, `n1!${name}`, 0);
    for (let turns = 0; turns < 3; turns++) await own.settled(GROUP);
    const { users } = await store.list(GROUP);
    expect(users.map(({ user }) => user)).toEqual(names.slice(i + 1, i + 3));
    expect(store.stated.length).toBeLessThanOrEqual(1);
  }
  expect([own.size, failures.length]).toEqual([0, 1]);
  await store.close(0);
});
