import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import type { BackplaneListener } from "sluice";
import { backplaneExam } from "sluice/testing";
import { ProcessBackplane } from "../../src/processes/process-backplane.ts";
import { ProcessHub } from "../../src/processes/process-hub.ts";
import { type InstalledPackage, installPackage } from "../installed-package.ts";
import { deaf } from "../layer/deaf.ts";
import { until } from "../server/live-server.ts";
import { nodeProgram, RemoteNode } from "./remote-node.ts";

jest.setTimeout(60_000);

let installed: InstalledPackage;
let program: string;
const nodes: RemoteNode[] = [];

beforeAll(async () => {
  installed = await installPackage();
  program = join(installed.folder, "node.js");
  await writeFile(program, nodeProgram(installed.dist));
});
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.end()));
});
afterAll(() => installed.remove());

function nodeOn(hub: ProcessHub, options?: object): RemoteNode {
  const node = new RemoteNode(program, hub, options);
  nodes.push(node);
  return node;
}

/** Keeps what it hears. */
class Diary implements BackplaneListener {
  readonly texts: string[] = [];
  readonly losses: { readonly topic?: string; readonly missed?: number }[] = [];
  readonly unheardTopics: string[] = [];
  droppedTexts = 0;
  hear(_topic: string, text: string): void {
    this.texts.push(text);
  }
  dropped(_topic: string, count: number): void {
    this.droppedTexts += count;
  }
  unheard(topic: string): void {
    this.unheardTopics.push(topic);
  }
  lost(loss: { readonly topic?: string; readonly missed?: number }): void {
    this.losses.push(loss);
  }
  down(): void {}
  up(): void {}
}

async function opened(hub: ProcessHub, options?: object) {
  const node = nodeOn(hub, options);
  const diary = new Diary();
  await node.open(diary);
  return { node, diary };
}

describe("The backplane between processes", () => {
  const exam = backplaneExam(() => {
    const hub = new ProcessHub();
    const made: RemoteNode[] = [];
    return {
      node() {
        const node = nodeOn(hub);
        made.push(node);
        return node;
      },
      async close() {
        await Promise.all(made.map((node) => node.close()));
        expect(hub.size).toBe(0);
      },
    };
  });
  for (const { name, run } of exam) test(name, run);
});

test("a process that is killed is forgotten, and the others go on", async () => {
  const hub = new ProcessHub();
  const [ann, bob] = [await opened(hub), await opened(hub)];
  await ann.node.subscribe("t");
  await bob.node.subscribe("t");
  await bob.node.subscribe("bob's");
  expect(hub.size).toBe(2);
  await bob.node.end();
  await until(() => hub.size === 1, "the table forgets the dead");
  const cid = await opened(hub);
  await cid.node.call("publish", "t", ["hello"]);
  await until(() => ann.diary.texts.includes("hello"), "the living hear");
});

test("who publishes where nobody else listens is told so", async () => {
  const hub = new ProcessHub();
  const [ann, bob] = [await opened(hub), await opened(hub)];
  await ann.node.subscribe("t");
  await ann.node.call("publish", "t", ["alone"]);
  await until(() => ann.diary.unheardTopics.length > 0, "told");
  await bob.node.subscribe("t");
  await ann.node.call("publish", "t", ["heard"]);
  await until(() => bob.diary.texts.length > 0, "heard");
  expect([ann.diary.unheardTopics, bob.diary.texts]).toEqual([["t"], ["heard"]]);
});

test("a frozen process costs a bound of memory; back again it hears what waited and is told how much it missed", async () => {
  const hub = new ProcessHub({ maxWaitingBytes: 1_000_000 });
  const [ann, bob, cid] = [await opened(hub), await opened(hub), await opened(hub)];
  await bob.node.subscribe("t");
  await cid.node.subscribe("t");
  bob.node.child.kill("SIGSTOP");
  const text = "x".repeat(50_000);
  for (let i = 0; i < 200; i++) {
    await ann.node.call("publish", "t", [`${i}:${text}`]);
    await until(() => cid.diary.texts.length === i + 1, "the one that reads hears each");
  }
  bob.node.child.kill("SIGCONT");
  await until(() => bob.diary.losses.length > 0, "it is told of its loss");
  const heard = bob.diary.texts.length;
  expect(bob.diary.losses).toEqual([{ topic: "t", missed: 200 - heard }]);
  // What the kernel holds comes on top.
  expect(heard).toBeGreaterThanOrEqual(19);
  expect(heard).toBeLessThan(60);
  expect(bob.diary.texts).toEqual(cid.diary.texts.slice(0, heard));
  expect(cid.diary.losses).toEqual([]);

  await ann.node.call("publish", "t", ["again"]);
  await until(() => bob.diary.texts.includes("again"), "it hears on");
});

test("what waits for a primary that does not read is bounded: the publisher counts what it drops", async () => {
  const hub = new ProcessHub();
  const ann = await opened(hub, { maxWaitingBytes: 1_000_000 });
  // More than fits, within one turn.
  await ann.node.call(
    "publish",
    "t",
    Array.from({ length: 30 }, () => "y".repeat(50_000)),
  );
  await expect(ann.node.flush()).rejects.toThrow("11 texts were dropped");
  expect(ann.diary.droppedTexts).toBe(11);
  await ann.node.call("publish", "t", ["z"]);
  await ann.node.flush();
});

test("a process whose primary is gone is refused, not left hanging", async () => {
  const hub = new ProcessHub();
  const { node } = await opened(hub);
  await node.call("close");
  await expect(node.call("subscribe", "t")).rejects.toThrow("closed");
  await node.call("publish", "t", ["into the void"]);
});

test("where there is no primary it refuses to open", async () => {
  const { send } = process;
  // Jest's own workers have one.
  (process as { send?: unknown }).send = undefined;
  try {
    await expect(new ProcessBackplane().open(deaf)).rejects.toThrow("sluice start --processes");
  } finally {
    (process as { send?: unknown }).send = send;
  }
});
