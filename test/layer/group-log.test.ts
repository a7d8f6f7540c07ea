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
