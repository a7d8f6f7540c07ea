import { expect, test } from "@jest/globals";
import { GroupLog } from "../../src/layer/group-log.ts";
import { ScriptedHistory } from "../history/scripted-history.ts";

const GROUP = "chat.den";
const POLICY = { size: 100, ttlMs: 60_000, newcomers: 0, clientsMayRead: false, conflate: false };

test("what was announced of a log that was set back since is not taken for what is there now", async () => {
  const history = new ScriptedHistory();
  const policy = { size: 100, ttlMs: 60_000 };
  const append = (text: string) => history.append(GROUP, text, policy);
  await append("one");
  const { epoch } = await append("two");
  const delivered: string[] = [];
  const gaps: string[] = [];
  const log = new GroupLog(
    GROUP,
    { ...policy, newcomers: 0, conflate: false, clientsMayRead: false },
    history,
    {
      deliver: (_group, { text }) => void delivered.push(text),
      begin() {},
      gap: (_group, reason) => void gaps.push(reason),
    },
  );
  await log.opened;
  // Announced by a Redis that is gone: another one has these places again, and not yet all of them.
  for (const offset of [4, 5, 7]) log.hear({ epoch, offset, id: `gone-${offset}`, at: 0, text: "gone" });
  for (const text of ["three", "four", "five"]) await append(text);
  await log.heal();
  expect(delivered).toEqual(["three", "four", "five"]);
  expect([log.hasHole, log.position.offset]).toEqual([false, 5]);
  for (const text of ["six", "seven", "eight"]) {
    const { offset, id } = await append(text);
    log.hear({ epoch, offset, id, at: 0, text });
  }
  expect(delivered.slice(3)).toEqual(["six", "seven", "eight"]);
  expect(gaps).toEqual([]);
  log.close();
});

test("healed means all that was appended before is heard, in whatever moment it is asked for", async () => {
  const store = new ScriptedHistory();
  const heard: number[] = [];
  const host = { deliver: (_: string, entry: { offset: number }) => heard.push(entry.offset) };
  await store.append("g", "x", POLICY);
  const log = new GroupLog("g", POLICY, store, { ...host, begin: () => {}, gap: () => {} });
  await log.opened;
  for (let turns = 0; turns < 30; turns++) {
    const reading = new Promise<void>((resolve) => {
      const read = store.read.bind(store);
      store.read = async (...asked) => {
        store.read = read;
        const slice = await read(...asked);
        resolve();
        return slice;
      };
    });
    void log.heal();
    await reading;
    // It ends so many turns of the microtask queue later, or has ended.
    for (let i = 0; i < turns; i++) await Promise.resolve();
    const { offset } = await store.append("g", "y", POLICY);
    await log.heal();
    expect([turns, heard.at(-1)]).toEqual([turns, offset]);
  }
  log.close();
});

/** A log of two entries, a node that follows it, and what each of its readings will be told, held until then. */
async function overtaken() {
  const store = new ScriptedHistory();
  const append = async (text: string) => ({ ...(await store.append(GROUP, text, POLICY)), text });
  for (const text of ["one", "two"]) await append(text);
  const told: string[] = [];
  const log = new GroupLog(GROUP, POLICY, store, {
    deliver: (_group, { text }) => void told.push(text),
    begin() {},
    gap: (_group, reason) => void told.push(`gap: ${reason}`),
  });
  await log.opened;
  return {
    ...{ store, append, told, log },
    /** Reads it; while the answer is on its way, something happens. */
    async heal(meanwhile: () => Promise<void>) {
      const read = store.read.bind(store);
      store.read = async (...asked) => {
        store.read = read;
        const slice = await read(...asked);
        await meanwhile();
        return slice;
      };
      await log.heal();
    },
  };
}

test("an answer of the store that announcements have overtaken is old, and not a log that was set back", async () => {
  const { log, told, append, heal } = await overtaken();
  await heal(async () => {
    for (const text of ["three", "four"]) log.hear(await append(text));
  });
  expect([told, log.position.offset]).toEqual([["three", "four"], 4]);
  // Nobody has announced the third here: the answer has it, and what overtook it goes on from there.
  await append("five");
  await heal(async () => log.hear(await append("six")));
  expect([told.slice(2), log.position.offset, log.hasHole]).toEqual([["five", "six"], 6, false]);
  log.close();
});

test("a log that was set back is seen to be, also when announcements arrive while it is read", async () => {
  const { log, told, store, append, heal } = await overtaken();
  const { epoch } = log.position;
  const before = store.logs.get(GROUP);
  store.logs.set(GROUP, {
    epoch,
    entries: before?.entries.slice(0, 1) ?? [],
    top: { offset: 1, id: "first" },
  });
  await append("another two");
  // Its third follows the second that was heard here in number only.
  const third = await append("three");
  await heal(async () => log.hear(third));
  expect(told).toEqual(["three", "gap: id"]);
  expect(log.position).toMatchObject({ offset: 3, id: third.id });
  log.close();
});
