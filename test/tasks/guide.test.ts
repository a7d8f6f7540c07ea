/** The guide as a newcomer follows it: what it shows first runs as it stands. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { watchTask } from "sluice/client";
import { io } from "socket.io-client";
import { blockOf, Project } from "../guides.ts";

jest.setTimeout(90_000);

let project: Project;

beforeAll(async () => {
  project = await Project.make();
  for (const file of ["build-report.js", "app.js"]) {
    await project.write(file, await blockOf("docs/tasks.md", "js", `// ${file}\n`));
  }
});
afterAll(() => project.close());

test("its first program runs as it stands, and is watched by a page and by curl", async () => {
  const program = project.start([join(project.dist, "src/cli.js"), "start", "app.js", "--port", "0"], {
    env: { REDIS_URL: "", SLUICE_SECRET: "" },
  });
  const url = await program.says(/^Sluice: (http:\S+)$/m);
  const response = await fetch(`${url}/reports/2026-11`, { method: "POST" });
  expect(response.status).toBe(202);
  const { id, ticket } = (await response.json()) as { id: string; ticket: string };

  const socket = io(`${url}/tasks`, { forceNew: true });
  const watch = watchTask(socket, ticket);
  const bars: number[] = [];
  watch.on("progress", ({ progress }) => bars.push(progress?.done ?? 0));
  const headers = { authorization: `Bearer ${ticket}` };
  const stream = await (await fetch(`${url}/tasks/${id}/events`, { headers })).text();
  expect(await watch.ended).toMatchObject({ state: "succeeded", result: { days: 30 } });
  socket.disconnect();
  expect(bars.length).toBeGreaterThan(3);
  expect(stream).toContain('"note":"2026-11-30"');
  expect(await (await fetch(`${url}/tasks/${id}`, { headers })).json()).toMatchObject({ state: "succeeded" });
});
