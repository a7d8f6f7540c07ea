/** `watchTask` with a server that says what a test tells it to. */
import { expect, jest, test } from "@jest/globals";
import { type TaskStatus, type TaskWatch, watchTask } from "sluice/client";
import { connected, heard, until } from "../server/live-server.ts";
import { script } from "./scripted-server.ts";

const TICKET = `v1.x.${Buffer.from(JSON.stringify(["run-1"])).toString("base64url")}.y`;
const status = (more: object = {}) => ({
  ...{ id: "run-1", task: "t", state: "running", attempt: 1, step: 1, at: 1, ...more },
});

type Answer = (value: unknown) => void;

async function scene(onAsk: (answer: Answer) => void) {
  const { client, peer } = await script();
  const socket = await connected(client().connect());
  const server = await peer(0);
  const asked = jest.fn((_asked: unknown, answer: Answer) => onAsk(answer));
  server.on("watch", asked);
  const watch = watchTask(socket, TICKET);
  const told: string[] = [];
  watch.on("progress", ({ attempt, step, state }) => told.push(`${attempt}.${step} ${state}`));
  return {
    ...{ socket, watch, asked, told },
    async say(...events: readonly object[]) {
      for (const event of events) server.emit("task", status(event));
      server.emit("end");
      await heard(socket, "end");
    },
  };
}

test("only what is newer is told: of a later attempt, or a later step of it, or another state there", async () => {
  const { told, say } = await scene((answer) => answer(status()));
  await until(() => told.length === 1, "the answer is told");
  await say(
    ...[{ step: 2 }, { step: 2 }, { step: 1 }, { step: 2, state: "retrying" }, { attempt: 2, step: 0 }],
    ...[
      { attempt: 1, step: 9 },
      { attempt: 2, step: 0 },
    ],
  );
  expect(told).toEqual(["1.1 running", "1.2 running", "1.2 retrying", "2.0 running"]);
});

test.each(["layer_unavailable", "rate_limited", "internal_error"])(
  "a server that cannot say at present (%s) is asked again",
  async (code) => {
    const refusals = [{ error: { code, message: "not now" } }];
    const { watch, asked } = await scene((answer) =>
      answer(refusals.shift() ?? status({ state: "succeeded" })),
    );
    expect((await watch.ended).state).toBe("succeeded");
    expect(asked).toHaveBeenCalledTimes(2);
  },
);

test("what is answered, or would be asked again, after stop is nobody's affair", async () => {
  const answers: Answer[] = [];
  const { socket, watch, told, say } = await scene((answer) => void answers.push(answer));
  await until(() => answers.length === 1, "it is asked");
  watch.stop();
  answers[0]?.({ error: { code: "no_handler", message: "no" } });
  await say();
  expect([watch.status, told, socket.listeners("task"), socket.listeners("connect")]).toEqual([
    ...[undefined, [], [], []],
  ]);
});

test("who stops listening in the same turn is not told of an end that was before", async () => {
  const { watch } = await scene((answer) => answer(status({ state: "succeeded", result: 7 })));
  await watch.ended;
  const [gone, stays] = [jest.fn(), jest.fn()];
  watch.on("done", gone)();
  watch.on("done", stays);
  await new Promise((resolve) => setImmediate(resolve));
  expect([gone.mock.calls.length, stays.mock.calls.length]).toEqual([0, 1]);
  expect((watch satisfies TaskWatch).status).toMatchObject({ result: 7 } satisfies Partial<TaskStatus>);
});
