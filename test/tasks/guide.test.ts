/** The guide as a newcomer follows it: what it shows first runs as it stands. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { watchTask } from "sluice/client";
import { io } from "socket.io-client";
import { blockOf, type Program, Project } from "../guides.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd } from "../server/live-server.ts";

jest.setTimeout(90_000);

let project: Project;

beforeAll(async () => {
  project = await Project.make();
  await project.write("build-report.js", await blockOf("docs/tasks.md", "js", "// build-report.js\n"));
  await project.write("app.js", await blockOf("docs/tasks.md", "js", "// app.js\n"));
});
afterAll(() => project.close());

/** A line of the page that starts the command, on a free port or with these options. */
function started(line: string, env: Readonly<Record<string, string>>, ...more: readonly string[]): Program {
  const [, words = ""] = /^npx sluice ([^#]*)/.exec(line) ?? [];
  return project.start([join(project.dist, "src/cli.js"), ...words.trim().split(" "), ...more], { env });
}

/** Lines of the page in a shell; what they wrote. */
async function shell(code: string, url: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const script = code.replaceAll("http://127.0.0.1:3000", url);
  const { stdout } = await promisify(execFile)("sh", ["-c", script], { env: { ...process.env, ...env } });
  return stdout;
}

test("its first program runs as it stands, and is watched by a page and by curl", async () => {
  const [start = "", post = ""] = (await blockOf("docs/tasks.md", "sh", "curl -X POST")).trim().split("\n");
  const url = await started(start, { REDIS_URL: "", SLUICE_SECRET: "" }, "--port", "0").says(
    /^Sluice: (http:\S+)$/m,
  );
  const { id, ticket } = JSON.parse(await shell(post, url)) as { id: string; ticket: string };

  const socket = io(`${url}/tasks`, { forceNew: true });
  const watch = watchTask(socket, ticket);
  const bars: number[] = [];
  watch.on("progress", ({ progress }) => bars.push(progress?.done ?? 0));
  const told = await shell(await blockOf("docs/tasks.md", "sh", "curl -N"), url, { TICKET: ticket, ID: id });
  expect(await watch.ended).toMatchObject({ state: "succeeded", result: { days: 30 } });
  socket.disconnect();
  expect(bars.length).toBeGreaterThan(3);
  expect(told).toMatch(/^\{[^\n]*"state":"\w+"/);
  expect(told).toContain('"note":"2026-11-30"');
});

redisTest("with Redis the program serves, and a worker works, as the page starts them", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const env = { REDIS_URL: redis.url, SLUICE_SECRET: "a secret that all processes of the page share" };
  const lines = (await blockOf("docs/tasks.md", "sh", "npx sluice work")).trim().split("\n");
  const serves = started(lines[1] ?? "", env, "--port", "0");
  const works = started(lines[2] ?? "", env);
  atEnd(() => Promise.all([serves.end(), works.end()]));
  const url = await serves.says(/^Sluice: (http:\S+)$/m);
  const [, post = ""] = (await blockOf("docs/tasks.md", "sh", "curl -X POST")).trim().split("\n");
  const { ticket } = JSON.parse(await shell(post, url)) as { ticket: string };
  const socket = io(`${url}/tasks`, { forceNew: true });
  expect(await watchTask(socket, ticket).ended).toMatchObject({ state: "succeeded", result: { days: 30 } });
  socket.disconnect();
});
