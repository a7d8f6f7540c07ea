/** Publishing to groups that keep history: every node knows what was published. */
import { expect, test } from "@jest/globals";
import { nodesOf } from "./scene.ts";

test("an event with an id is published once, whichever nodes it is sent to", async () => {
  const [one, two] = await nodesOf({ groups: { "chat.*": { history: { size: 10, ttlMs: 60_000 } } } });
  for (const [node, id] of [
    [one, "a"],
    [two, "a"],
    [two, "b"],
    [one, "b"],
  ] as const) {
    const { status } = await node.post("/groups/chat.sport/events", {
      ...{ event: "story", payload: { id }, id },
    });
    expect(status).toBe(202);
  }
  const { messages } = await one.app.layer.history("chat.sport");
  expect(messages.map(({ payload }) => payload)).toEqual([{ id: "a" }, { id: "b" }]);
});
