/** A real server in a process of its own, which tells its leader what must never happen, and how it is. */
import { writeHeapSnapshot } from "node:v8";
import * as sluice from "sluice";
import { parsePublishingKeys, publishing } from "sluice/publishing";
import { createServer } from "sluice/server";
import { z } from "zod";
import { fuzzedRooms } from "./rooms.js";

const tell = (told) => process.send?.(told);
const violated = (violation) => tell({ violation });

for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error) => violated(`${event}: ${error?.stack ?? error}`));
}
process.on("warning", (warning) => violated(`warning: ${warning.stack}`));

const { routes, groups } = fuzzedRooms(sluice, z, violated);
const generous = { eventsPerSecond: 1_000_000, floodEvents: 1_000_000, newGroupsPerSecond: 1_000_000 };
const app = sluice.createApplication({
  routes,
  groups,
  connectTimeoutMs: 2_000,
  limits: JSON.parse(process.env.LIMITS ?? "null") ?? generous,
});
app.signals.failed.connect(({ hook, error }) => violated(`failed: ${hook}: ${error?.stack ?? error}`));
const server = createServer(app, {
  port: 0,
  pingIntervalMs: 2_000,
  pingTimeoutMs: 3_000,
  limits: { maxPayloadBytes: 20_000 },
});
const keys = parsePublishingKeys(`fuzzer:${process.env.PUBLISH_HASH}:all,logged`);
server.express.use("/api", publishing({ layer: app.layer, signals: app.signals, keys }));
const { url, port } = await server.listen();

async function answer({ ask, number, path }) {
  if (ask === "state") {
    for (let i = 0; i < 3; i += 1) {
      globalThis.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { heapUsed, external } = process.memoryUsage();
    const resources = {};
    for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
    const { sizes } = app;
    tell({ number, state: { heapUsed, external, resources, sizes, connections: server.connections } });
  }
  if (ask === "snapshot") tell({ number, state: writeHeapSnapshot(path) });
  if (ask === "stop") {
    await server.stop({ atOnce: true });
    tell({ number, state: { sizes: app.sizes } });
    process.disconnect();
  }
}
process.on("message", (question) => void answer(question));
tell({ number: 0, state: { url, port } });
