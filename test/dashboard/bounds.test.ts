/** What the dashboard shows and takes has an end. */
import { expect, test } from "@jest/globals";
import { CloseCode } from "sluice";
import { MemoryBroker, Tasks, task } from "sluice/tasks";
import type { ShownJob } from "../../src/dashboard/desk.ts";
import { connected, refusalOf, until } from "../server/live-server.ts";
import { login, node, Operator, open, tokenOf } from "./scene.ts";

/** So many pages may be open at a node. */
const MAX_LOOKING = 50;

test("so many pages may look at once, one more is refused until one is closed", async () => {
  const live = await node();
  const { cookie } = await login(live);
  const token = await tokenOf(live, cookie);
  const page = () => open(live, { token }, { extraHeaders: { cookie } });
  const pages = await Promise.all(Array.from({ length: MAX_LOOKING }, () => connected(page())));
  expect(await refusalOf(page())).toMatchObject({
    message: "too many have the dashboard open",
    data: { code: CloseCode.tooMany },
  });
  let hasLeft = false;
  live.app.signals.disconnected.connect(() => {
    hasLeft = true;
  });
  pages[0]?.disconnect();
  await until(() => hasLeft, "the first page has left");
  await connected(page());
});

test("what an application shows of arguments and results is cut, as a stack is", async () => {
  const say = task("say", async ({ text }: { text: string }) => text);
  const tasks = new Tasks({ tasks: [say] as never, broker: new MemoryBroker() });
  const live = await node({ tasks, redact: (value) => value, app: { parts: [tasks] } });
  const operator = await Operator.at(live);
  const run = await tasks.enqueue(say, { text: "x".repeat(20_000) });
  await run.result({ timeoutMs: 20_000 });
  const { jobs } = (await operator.ask("jobs", { queue: "default", state: "done", from: 0 })) as unknown as {
    readonly jobs: readonly ShownJob[];
  };
  expect([jobs[0]?.args?.length, jobs[0]?.result?.length]).toEqual([4_000, 4_000]);
});
