/** Publishing to groups that keep history: every node knows what was published. */

import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "@jest/globals";
import express from "express";
import {
  type Application,
  createApplication,
  MemoryBackplane,
  MemoryHistory,
  MemoryHub,
  MemoryLogs,
} from "sluice";
import { createPublishingKey, publishing } from "sluice/publishing";

const open: (Application | Server)[] = [];

afterEach(async () => {
  for (const one of open.splice(0)) {
    if ("stop" in one) await one.stop();
    else await new Promise((resolve) => one.close(resolve));
  }
});

test("an event with an id is published once, whichever nodes it is sent to", async () => {
  const [hub, logs, { key, hash }] = [new MemoryHub(), new MemoryLogs(), createPublishingKey()];
  const nodes = await Promise.all(
    [1, 2].map(async () => {
      const app = createApplication({
        routes: [],
        groups: { "news.*": { history: { size: 10, ttlMs: 60_000 } } },
        backplane: new MemoryBackplane(hub),
        history: new MemoryHistory(logs),
      });
      await app.start();
      const site = express().use(
        publishing({ layer: app.layer, keys: [{ name: "cms", hash, groups: ["news.*"] }] }),
      );
      const server = await new Promise<Server>((resolve) => {
        const listening = site.listen(0, "127.0.0.1", () => resolve(listening));
      });
      open.push(server, app);
      return {
        app,
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/groups/news.sport/events`,
      };
    }),
  );
  const post = (i: number, id: string) =>
    fetch(nodes[i]?.url as string, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ event: "story", payload: { id }, id }),
    });
  for (const [i, id] of [
    [0, "a"],
    [1, "a"],
    [1, "b"],
    [0, "b"],
  ] as const) {
    expect((await post(i, id)).status).toBe(202);
  }
  const history = await nodes[0]?.app.layer.history("news.sport");
  const messages = history?.messages ?? [];
  expect(messages.map(({ payload }) => payload)).toEqual([{ id: "a" }, { id: "b" }]);
});
