/** Groups of the framework's own: nodes speak in them, and nobody else. */
import { expect, test } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  Consumer,
  createApplication,
  MemoryBackplane,
  MemoryHub,
  type Message,
  route,
} from "sluice";
import { TestClient } from "sluice/testing";
import { PolicyTable } from "../../src/layer/group-policy.ts";
import { atEnd, until } from "../server/live-server.ts";

const GROUP = "sluice.test";

async function started(options: Partial<ApplicationOptions>): Promise<Application> {
  const app = createApplication({ routes: [], ...options });
  await app.start();
  atEnd(() => app.stop());
  return app;
}

test("whoever listens hears all nodes in order, this one at once, and nothing after it has stopped", async () => {
  const hub = new MemoryHub();
  const [one, two] = [
    await started({ backplane: new MemoryBackplane(hub) }),
    await started({ backplane: new MemoryBackplane(hub) }),
  ];
  const [here, there]: [unknown[], unknown[]] = [[], []];
  const stop = await one.layer.listen(GROUP, ({ n }) => void here.push(n));
  await two.layer.listen(GROUP, ({ n }) => void there.push(n));
  for (const n of [1, 2, 3]) one.layer.tellListeners(GROUP, { type: "test.word", n });
  expect(here).toEqual([1, 2, 3]);
  expect(one.readings().counters.deliveredToConsumers).toBe(0);
  await until(() => there.length === 3, "the other node");
  expect(there).toEqual([1, 2, 3]);
  stop();
  stop();
  two.layer.tellListeners(GROUP, { type: "test.word", n: 4 });
  await until(() => there.length === 4, "it was said");
  expect(here).toEqual([1, 2, 3]);
  await until(() => one.sizes.topics === 0, "its topic is closed");
  expect([one.sizes, two.sizes]).toEqual([one.sizes, one.sizes]);
  expect(two.sizes).toMatchObject({ channels: 0, groups: 0, topics: 0 });
});

test("a listener that throws is told of, and the others hear all the same", async () => {
  const app = await started({});
  const [failures, heard]: [unknown[], unknown[]] = [[], []];
  app.signals.failed.connect(({ error }) => void failures.push(error));
  await app.layer.listen(GROUP, () => {
    throw new Error("deaf");
  });
  await app.layer.listen(GROUP, (message: Message) => void heard.push(message.type));
  app.layer.tellListeners(GROUP, { type: "test.word" });
  expect(heard).toEqual(["test.word"]);
  expect(failures).toEqual([expect.objectContaining({ message: "deaf" })]);
});

test("no policy is about it, however wide its pattern is, and no history keeps it", async () => {
  const groups = { "*.*": { history: { size: 5, ttlMs: 60_000 }, presence: true } };
  const policies = new PolicyTable(groups);
  expect(policies.of("chat.den").presence).toBeDefined();
  expect(policies.of(GROUP)).toMatchObject({ history: undefined, presence: undefined });
  const app = await started({ groups });
  await app.layer.listen(GROUP, () => {});
  app.layer.tellListeners(GROUP, { type: "test.word" });
  expect(app.sizes).toMatchObject({ logs: 0, presence: 0 });
  await expect(app.layer.history(GROUP)).rejects.toThrow("belongs to the framework");
});

test("consumers can neither join it nor speak in it, and nobody can listen to theirs", async () => {
  class Nosy extends Consumer {
    override async receive(verb: string, group: unknown) {
      if (verb === "join") await this.groupAdd(String(group));
      if (verb === "emit") await this.groupEmit(String(group), "word", 1);
      if (verb === "send") await this.groupSend(String(group), { type: "test.word" });
    }
  }
  const app = await started({ routes: [route("/nosy", Nosy)] });
  const heard: Message[] = [];
  await app.layer.listen(GROUP, (message) => void heard.push(message));
  const client = new TestClient(app, "/nosy");
  await client.connect();
  for (const verb of ["join", "emit", "send"]) {
    expect(await client.emit(verb, GROUP)).toMatchObject({ error: { code: "invalid_name" } });
  }
  expect(heard).toEqual([]);
  await client.disconnect();
  await expect(app.layer.listen("chat", () => {})).rejects.toThrow("of the framework's own");
  expect(() => app.layer.tellListeners("chat", { type: "test.word" })).toThrow("of the framework's own");
});
