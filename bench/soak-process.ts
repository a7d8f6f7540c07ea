/** A process of the soak: a web node that enqueues and has runs watched, or a worker that does them. */
import { createApplication } from "sluice";
import { RedisBackplane } from "sluice/redis";
import { createServer } from "sluice/server";
import { channel, Tasks, task, WorkerConsumer } from "sluice/tasks";
import { RedisBroker } from "sluice/tasks/redis";
import { serve } from "./child.ts";
import type { SoakVerbs } from "./protocol.ts";

const SECRET = "only for measuring, so everybody may know it";
/** Long enough to be watched by whoever comes at once, and short enough to see it forgotten. */
const KEEP_MS = 5_000;
const STEPS = 3;

const options = { keepMs: KEEP_MS, progressMs: 1 };
const stepwise = task("stepwise", options, async (text: string, run) => {
  for (let step = 1; step <= STEPS; step++) {
    run.progress(step, STEPS, text);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return { text };
});
const retried = task(
  "retried",
  { ...options, retry: { attempts: 3, minMs: 1 } },
  async (text: string, run) => {
    run.progress(run.attempt, STEPS);
    if (run.attempt < 2) throw new Error("once");
    return { text };
  },
);
const failing = task("failing", options, async (_text: string, run) => {
  run.progress(1, STEPS);
  throw new Error("always");
});
const measured = task("measured", options, async ({ text }: { readonly text: string }) => text.length);

class Mail extends WorkerConsumer {
  async mailSend(_message: { readonly text: string }) {}
}

let tasks: Tasks;
let app: ReturnType<typeof createApplication>;

/** What a shop might do: each of these leaves something in Redis or in a process, if anything does. */
async function enqueue(i: number): Promise<string> {
  const text = `number ${i}`;
  switch (i % 20) {
    case 0:
      return (await retried.enqueue(text)).ticket();
    case 1:
      return (await failing.enqueue(text)).ticket();
    case 2: {
      const handle = await stepwise.enqueue(text, { delayMs: 5 });
      const ticket = handle.ticket();
      await handle.cancel();
      return ticket;
    }
    case 3:
    case 4:
      return (await stepwise.enqueue(text, { key: `key-${Math.floor(i / 20)}` })).ticket();
    case 5:
      return (await tasks.chain([stepwise.with(text), measured.step()])).ticket();
    case 6:
      return (await stepwise.enqueue(text, { notify: `users.${i % 1_000}` })).ticket();
    case 7:
      await app.layer.send("mail", { type: "mail.send", text });
      return (await stepwise.enqueue(text, { priority: "urgent" })).ticket();
    case 8: {
      const handle = await stepwise.enqueue(text);
      void handle.result({ timeoutMs: 30_000 });
      return handle.ticket();
    }
    default:
      return (await stepwise.enqueue(text)).ticket();
  }
}

const verbs: Omit<SoakVerbs, "usage"> = {
  async start({ redisUrl: url, role }) {
    tasks = new Tasks({
      tasks: [stepwise, retried, failing, measured],
      channels: [channel("mail", Mail, { keepMs: KEEP_MS })],
      broker: new RedisBroker({ url }),
      queues: role === "worker" ? { default: 20 } : {},
      reportMs: 500,
      // All who watch come from one address.
      asksPerSecond: 1_000_000,
    });
    app = createApplication({
      routes: [],
      parts: [tasks],
      secret: SECRET,
      backplane: new RedisBackplane({ url }),
    });
    if (role === "worker") {
      await app.start();
      return { port: 0 };
    }
    return createServer(app, { port: 0 }).listen();
  },

  enqueue: ({ from, count }) => Promise.all(Array.from({ length: count }, (_, i) => enqueue(from + i))),

  async left() {
    const { waiting, delayed, blocked, active, done, failed } = await tasks.broker.counts("default");
    return waiting + delayed + blocked + active + done + failed;
  },

  async kept() {
    global.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
    global.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    return { heapBytes: heapUsed, externalBytes: external, rssBytes: rss };
  },
};

serve({ ...verbs });
