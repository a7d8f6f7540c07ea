import { expect, test } from "@jest/globals";
import { GroupLog } from "../../src/layer/group-log.ts";
import { ScriptedHistory } from "../history/scripted-history.ts";

const GROUP = "chat.den";

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
