import { expect, test } from "@jest/globals";
import { HistoryError } from "sluice/client";
import { until } from "../server/live-server.ts";
import { script } from "./scripted-server.ts";

test("a page of history is asked for by group, limit and offset", async () => {
  const { recovering } = await script();
  const { peer, recovery } = await recovering();
  const page = {
    epoch: "x",
    messages: [{ event: "message", payload: { text: "hi" }, offset: 3, id: "i3", at: 1 }],
    more: true,
  };
  const asked: unknown[] = [];
  peer.on("sluice.history", (question, answer) => {
    asked.push(question);
    answer(page);
  });
  expect(await recovery.history("den", { limit: 1, before: 4 })).toEqual(page);
  expect(await recovery.history("den")).toEqual(page);
  expect(asked).toEqual([{ group: "den", limit: 1, before: 4 }, { group: "den" }]);
});

async function codeOf(asked: Promise<unknown>): Promise<string> {
  const error = await asked.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(HistoryError);
  return (error as HistoryError).code;
}

test("what the server refuses has the server's code and words", async () => {
  const { recovering } = await script();
  const { peer, recovery } = await recovering();
  peer.on("sluice.history", (_question, answer) =>
    answer({ error: { code: "no_handler", message: "not for you" } }),
  );
  await expect(recovery.history("den")).rejects.toMatchObject({ code: "no_handler", message: "not for you" });
});

test.each([[undefined], [null], [7], [{}], [{ epoch: "x", messages: "none" }], [{ epoch: 1, messages: [] }]])(
  "an answer that is no history is an error: %j",
  async (nonsense) => {
    const { recovering } = await script();
    const { peer, recovery } = await recovering();
    peer.on("sluice.history", (_question, answer) => answer(nonsense));
    expect(await codeOf(recovery.history("den"))).toBe("invalid_answer");
  },
);

test("no answer, a lost connection and no connection are told apart, and nothing is asked later", async () => {
  const { recovering, peer } = await script();
  const mine = await recovering();
  const asked: unknown[] = [];
  mine.peer.on("sluice.history", (question) => asked.push(question));
  expect(await codeOf(mine.recovery.history("den", { timeoutMs: 10 }))).toBe("timeout");
  const lost = codeOf(mine.recovery.history("den"));
  await until(() => asked.length === 2, "it is asked");
  mine.peer.conn.close();
  expect(await lost).toBe("connection_lost");
  expect(await codeOf(mine.recovery.history("den"))).toBe("not_connected");
  const next = await peer(1);
  next.on("sluice.history", (question) => asked.push(question));
  next.on("done", (answer) => answer());
  await mine.client.emitWithAck("done");
  expect(asked).toHaveLength(2);
});
