/** Watching a run from a browser: over a stock socket, with `sluice/client`, as a stream, as JSON. */
import { beforeEach, expect, test } from "@jest/globals";
import { type TaskStatus as ClientStatus, watchTask } from "sluice/client";
import { MemoryBroker, type TaskRun, type TaskStatus, Tasks, type TasksOptions, task } from "sluice/tasks";
import { EventStream } from "../server/event-stream.ts";
import { connected, type Gate, gate, heard, serve, until } from "../server/live-server.ts";
import { identify } from "./identify.ts";

const soon = { timeoutMs: 10_000 };
let steps: Gate[];
let runs: TaskRun[];
beforeEach(() => {
  steps = [gate(), gate(), gate()];
  runs = [];
});

/** Tells progress when the test says so. */
const stepwise = task("stepwise", { progressMs: 1 }, async (total: number, run) => {
  runs.push(run);
  for (let i = 0; i < total; i++) {
    run.progress(i, total, `step ${i}`);
    await Promise.race([
      steps[i]?.passed,
      new Promise((_resolve, reject) => {
        run.signal.addEventListener("abort", () => reject(run.signal.reason as Error));
      }),
    ]);
  }
  run.progress(total, total);
  return { total };
});
const quick = task("quick", (x: number) => x + 1);
const failing = task("failing", () => {
  throw new Error("secret details of the machine? no: a message for the page");
});

async function scene(options: Partial<TasksOptions> = {}) {
  const broker = new MemoryBroker();
  const tasks = new Tasks({ tasks: [stepwise, quick, failing], broker, lookMs: 50, ...options });
  const live = await serve({ routes: [], parts: [tasks], middleware: [identify] });
  const watcher = async (user?: string) =>
    connected(live.client("/tasks", { auth: user === undefined ? {} : { user }, reconnection: true }));
  return { ...live, broker, tasks, watcher };
}

/** How many jobs are followed at the broker. */
function followed(broker: MemoryBroker): () => number {
  const follow = broker.follow.bind(broker);
  let count = 0;
  broker.follow = async (id, follower) => {
    const stop = await follow(id, follower);
    count += 1;
    return () => {
      count -= 1;
      stop();
    };
  };
  return () => count;
}

const outline = ({ state, progress }: TaskStatus | ClientStatus) =>
  progress === undefined ? state : `${state} ${progress.done}/${progress.total}`;

test("a stock client shows a ticket and is told the state, then every newer one, to the end", async () => {
  const { watcher } = await scene();
  const socket = await watcher();
  const told: string[] = [];
  socket.on("task", (status: TaskStatus) => told.push(outline(status)));
  const handle = await stepwise.enqueue(3);
  await until(() => runs.length === 1, "it runs");
  const first: TaskStatus = await socket.timeout(5_000).emitWithAck("watch", { ticket: handle.ticket() });
  expect(first).toMatchObject({ id: handle.id, task: "stepwise", state: "running", attempt: 1 });
  for (const [i, step] of steps.entries()) {
    await until(() => told.at(-1) === `running ${i}/3`, `step ${i} is told`);
    step.open();
  }
  await until(() => told.at(-1)?.startsWith("succeeded"), "the end is told");
  expect(told.filter((line) => line.startsWith("succeeded"))).toEqual(["succeeded 3/3"]);
  const bars = told.map((line) => Number(/(\d)\/3/.exec(line)?.[1] ?? 0));
  expect(bars).toEqual([...bars].sort());
});

test("the bar ends right for a second tab, after a reload, and for one that comes when all is over", async () => {
  const { watcher } = await scene();
  const handle = await stepwise.enqueue(3);
  const ticket = handle.ticket({ user: "ann" });
  const tabs = [watchTask(await watcher("ann"), ticket), watchTask(await watcher("ann"), ticket)];
  await until(() => tabs.every((tab) => tab.status?.state === "running"), "both see it run");
  const reloaded = await watcher("ann");
  const again = watchTask(reloaded, ticket);
  const seen: string[] = [];
  again.on("progress", (status) => seen.push(outline(status)));
  steps[0]?.open();
  await until(() => seen.at(-1) === "running 1/3", "the reloaded page sees it go on");
  // Its connection breaks, and meanwhile the run ends.
  const back = heard(reloaded, "connect");
  reloaded.io.engine.close();
  for (const step of steps) step.open();
  await handle.result(soon);
  await back;
  for (const watch of [...tabs, again, watchTask(await watcher("ann"), ticket)]) {
    expect(outline(await watch.ended)).toBe("succeeded 3/3");
    expect(watch.status?.result).toEqual({ total: 3 });
    // Who listens late is told all the same.
    expect(await new Promise((resolve) => watch.on("done", ({ result }) => resolve(result)))).toEqual({
      total: 3,
    });
  }
});

test("of two that watch a run by one socket, one that stops takes nothing from the other", async () => {
  const { watcher } = await scene();
  const socket = await watcher();
  const unwatched: unknown[] = [];
  socket.onAnyOutgoing((event, payload) => event === "unwatch" && unwatched.push(payload));
  const handle = await stepwise.enqueue(3);
  const [first, second] = [watchTask(socket, handle.ticket()), watchTask(socket, handle.ticket())];
  await until(() => second.status?.progress?.done === 0, "it runs");
  first.stop();
  steps[0]?.open();
  await until(() => second.status?.progress?.done === 1, "the other goes on");
  expect(unwatched).toEqual([]);
  second.stop();
  second.stop();
  expect(unwatched).toEqual([{ id: handle.id }]);
  for (const step of steps) step.open();
  await handle.result(soon);
});

test("a run that says nothing of its progress ends for its watchers, too", async () => {
  const { watcher } = await scene();
  const handle = await quick.enqueue(1, { delayMs: 40 });
  const watch = watchTask(await watcher(), handle.ticket());
  const seen: string[] = [];
  watch.on("progress", ({ state }) => seen.push(state));
  expect(await watch.ended).toMatchObject({ state: "succeeded", result: 2 });
  expect(seen[0]).toBe("queued");
});

test("a failure is told with its code and message, without its stack", async () => {
  const { watcher } = await scene();
  const handle = await failing.enqueue();
  const watch = watchTask(await watcher(), handle.ticket());
  const failed = await new Promise<object>((resolve) => watch.on("failed", resolve));
  expect(failed).toMatchObject({ code: "task_failed", message: expect.stringContaining("for the page") });
  expect(JSON.stringify(await watch.ended)).not.toContain("watching.test");
});

test("a cancelled run is told as cancelled", async () => {
  const { watcher } = await scene();
  const handle = await stepwise.enqueue(3);
  await until(() => runs.length === 1, "it runs");
  const watch = watchTask(await watcher(), handle.ticket());
  await handle.cancel();
  expect(await watch.ended).toMatchObject({ state: "cancelled" });
});

test("what a worker told in vain is found by looking", async () => {
  const { watcher, broker } = await scene();
  // Nothing of what is told arrives, not even the end.
  broker.follow = async () => () => {};
  const handle = await stepwise.enqueue(1);
  const watch = watchTask(await watcher(), handle.ticket());
  await until(() => watch.status?.progress?.done === 0, "its progress is found");
  steps[0]?.open();
  expect(await watch.ended).toMatchObject({ state: "succeeded" });
});

test("many who watch one run follow it once, and the next is told the state of now", async () => {
  const { watcher, broker } = await scene();
  const count = followed(broker);
  const handle = await stepwise.enqueue(3);
  await until(() => runs.length === 1, "it runs");
  const sockets = await Promise.all(Array.from({ length: 5 }, () => watcher()));
  const watches = sockets.map((socket) => watchTask(socket, handle.ticket()));
  await until(() => watches.every((watch) => watch.status?.progress?.done === 0), "all see it begin");
  expect(count()).toBe(1);
  sockets[0]?.close();
  steps[0]?.open();
  await until(() => watches.slice(1).every((watch) => watch.status?.progress?.done === 1), "it goes on");
  const late = watchTask(await watcher(), handle.ticket());
  const seen: string[] = [];
  late.on("progress", (status) => seen.push(outline(status)));
  await until(() => seen.length > 0, "the next is told");
  expect(seen[0]).toBe("running 1/3");
  for (const step of steps) step.open();
  for (const watch of [...watches.slice(1), late]) expect(outline(await watch.ended)).toBe("succeeded 3/3");
  await until(() => count() === 0, "nobody follows it");
});

test("who stops watching is told no more, and nothing is kept for them", async () => {
  const { watcher, broker } = await scene();
  const count = followed(broker);
  const handle = await stepwise.enqueue(3);
  const socket = await watcher();
  const watch = watchTask(socket, handle.ticket());
  await until(() => watch.status !== undefined && count() === 1, "it is watched");
  watch.stop();
  await until(() => count() === 0, "nobody follows it");
  await handle.cancel();
  expect(watch.status?.state).not.toBe("cancelled");
});

test.each([
  ["no ticket at all", undefined, "invalid_message"],
  ["something made up", "t1.AAAAAAAA.AAAA.AAAA", "ticket_refused"],
])("%s is refused, and the connection goes on", async (_what, ticket, code) => {
  const { watcher } = await scene();
  const socket = await watcher();
  const answer: object = await socket.timeout(5_000).emitWithAck("watch", { ticket });
  expect(answer).toMatchObject({ error: { code } });
  expect(socket.connected).toBe(true);
});

test("a ticket is for its user, for its time, and for no other run", async () => {
  const { watcher, url } = await scene();
  const [one, two] = [await quick.enqueue(1), await quick.enqueue(2)];
  const ask = async (ticket: string, user?: string) =>
    (await watcher(user)).timeout(5_000).emitWithAck("watch", { ticket }) as Promise<object>;
  const anns = one.ticket({ user: "ann" });
  expect(await ask(anns, "bob")).toMatchObject({ error: { code: "ticket_refused" } });
  expect(await ask(anns)).toMatchObject({ error: { code: "ticket_refused" } });
  expect(await ask(anns, "ann")).toMatchObject({ id: one.id });
  const brief = one.ticket({ ttlMs: 1 });
  await until(
    () => Date.now() > 0 && JSON.parse(atob(brief.split(".")[2] as string))[1] < Date.now(),
    "over",
  );
  expect(await ask(brief)).toMatchObject({ error: { message: expect.stringContaining("time is over") } });
  const other = await fetch(`${url}/tasks/${two.id}`, {
    headers: { authorization: `Bearer ${one.ticket()}` },
  });
  expect(other.status).toBe(403);
});

test("one connection watches so many runs and no more", async () => {
  const { watcher } = await scene({ queues: { default: 1 } });
  const socket = await watcher();
  const handles = await Promise.all(Array.from({ length: 51 }, () => quick.enqueue(1, { delayMs: 60_000 })));
  const answers: { error?: { code: string } }[] = await Promise.all(
    handles.map((handle) => socket.timeout(5_000).emitWithAck("watch", { ticket: handle.ticket() })),
  );
  expect(answers.filter(({ error }) => error?.code === "rate_limited")).toHaveLength(1);
  expect(answers.filter(({ error }) => error === undefined)).toHaveLength(50);
});

test("curl reads the state as JSON, and follows it as a stream that ends with the run", async () => {
  const { url } = await scene();
  const handle = await stepwise.enqueue(3);
  await until(() => runs.length === 1, "it runs");
  const headers = { authorization: `Bearer ${handle.ticket()}` };
  const read = async (): Promise<unknown> => (await fetch(`${url}/tasks/${handle.id}`, { headers })).json();
  expect(await read()).toMatchObject({ id: handle.id, state: "running" });
  const stream = await EventStream.open(`${url}/tasks/${handle.id}/events?ticket=${handle.ticket()}`);
  expect((await stream.next("task")).data).toMatchObject({ state: "running" });
  for (const step of steps) step.open();
  await until(() => stream.ended, "the stream ends");
  const states = stream.events.filter(({ event }) => event === "task").map(({ data }) => data as TaskStatus);
  expect(outline(states.at(-1) as TaskStatus)).toBe("succeeded 3/3");
  expect(await read()).toMatchObject({ state: "succeeded", result: { total: 3 } });
});

test("over HTTP, too, nothing is told without a ticket", async () => {
  const { url } = await scene();
  const handle = await quick.enqueue(1);
  await handle.result(soon);
  for (const path of [handle.id, `${handle.id}?ticket=x`, "default.none", "x"]) {
    const response = await fetch(`${url}/tasks/${path}`);
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ error: { code: "ticket_refused" } });
  }
  for (const path of [handle.id, `${handle.id}/events`]) {
    const response = await fetch(`${url}/tasks/${path}`);
    expect(response.status).toBe(403);
    expect(await response.text()).toContain("show a ticket");
  }
});

test("one address asks for so many runs a second, however it asks", async () => {
  const { url, watcher } = await scene({ asksPerSecond: 1 });
  const handle = await quick.enqueue(1);
  await handle.result(soon);
  const headers = { authorization: `Bearer ${handle.ticket()}` };
  const ask = () => fetch(`${url}/tasks/${handle.id}`, { headers });
  const first = await Promise.all([ask(), ask(), ask(), ask(), ask()]);
  expect(first.filter(({ status }) => status === 200).length).toBeLessThan(5);
  const refused = first.find(({ status }) => status === 429);
  expect(await refused?.json()).toMatchObject({ error: { code: "rate_limited" } });
  const socket = await watcher();
  const answers: { error?: { code: string } }[] = await Promise.all(
    Array.from({ length: 5 }, () => socket.timeout(5_000).emitWithAck("watch", { ticket: "t1.guess" })),
  );
  // A guess costs as much as a ticket.
  expect(answers.some(({ error }) => error?.code === "rate_limited")).toBe(true);
  const stream = await fetch(`${url}/tasks/${handle.id}/events`, { headers });
  await stream.body?.cancel();
  expect([200, 429]).toContain(stream.status);
});

test("a stream with a ticket for another run is refused before that run is looked at", async () => {
  const { url, broker } = await scene();
  const handle = await quick.enqueue(1);
  await handle.result(soon);
  const found: string[] = [];
  const find = broker.find.bind(broker);
  broker.find = (id) => {
    found.push(id);
    return find(id);
  };
  const response = await fetch(`${url}/tasks/default.other/events?ticket=${handle.ticket()}`);
  expect(response.status).toBe(403);
  expect(found).toEqual([]);
});

test("an end that is found before the broker has begun to listen leaves nothing behind", async () => {
  const { watcher, broker } = await scene();
  const handle = await quick.enqueue(1);
  await handle.result(soon);
  const follow = broker.follow.bind(broker);
  let listening = 0;
  broker.follow = async (id, follower) => {
    const stop = await follow(id, follower);
    listening += 1;
    // As a broker does that looks while its subscription is under way.
    follower.changed();
    await new Promise((resolve) => setImmediate(resolve));
    return () => {
      listening -= 1;
      stop();
    };
  };
  const socket = await watcher();
  const status = await socket.timeout(5_000).emitWithAck("watch", { ticket: handle.ticket() });
  expect(status).toMatchObject({ state: "succeeded" });
  expect(listening).toBe(0);
});

test("the outcome goes to a group when the page has gone elsewhere", async () => {
  const { app } = await scene();
  const told: unknown[] = [];
  const groupEmit = app.layer.groupEmit.bind(app.layer);
  app.layer.groupEmit = async (...args: Parameters<typeof groupEmit>) => {
    told.push(args);
    return groupEmit(...args);
  };
  await (await quick.enqueue(1, { notify: "users.ann" })).result(soon);
  await expect((await failing.enqueue(undefined, { notify: "users.ann" })).result(soon)).rejects.toThrow();
  expect(told).toMatchObject([
    ["users.ann", "task", { task: "quick", state: "succeeded", result: 2 }],
    ["users.ann", "task", { task: "failing", state: "failed", error: { code: "task_failed" } }],
  ]);
});
