/** What the contracts promise, held also by what is encrypted. */
import { describe, expect, test } from "@jest/globals";
import { MemoryBackplane, MemoryHistory, MemoryHub, MemoryLogs, type MemoryLogsOptions } from "sluice";
import { MemoryPresence, MemoryPresenceHub } from "sluice/presence";
import { backplaneExam, historyExam, presenceExam } from "sluice/testing";
import { createFacts, type UnopenedFact } from "../../src/facts.ts";
import { SealedBackplane } from "../../src/layer/sealed-backplane.ts";
import { openedInfo, SealedHistory, sealedInfo } from "../../src/layer/sealed-history.ts";
import { SealedPresence } from "../../src/layer/sealed-presence.ts";
import { Seal, Sealer } from "../../src/sealing.ts";
import { KEYS } from "../some-keys.ts";
import { deaf } from "./deaf.ts";

const facts = createFacts();
const unopened: UnopenedFact[] = [];
facts.unopened.connect((fact) => void unopened.push(fact));

/** As each node has one of its own. */
function seal(carrier: UnopenedFact["carrier"], keys: readonly string[] = KEYS): Seal {
  return new Seal(new Sealer(keys), facts, carrier, "exam");
}

test("what is known of a user opens for that user in that group, and for nobody else", () => {
  const presence = seal("presence");
  const sealed = sealedInfo(presence, "room", "ann", '{"role":"admin"}');
  expect(openedInfo(presence, "room", "ann", sealed)).toBe('{"role":"admin"}');
  for (const [group, user] of [
    ["room", "bob"],
    ["hall", "ann"],
  ] as const) {
    expect(openedInfo(presence, group, user, sealed)).toBe("");
  }
  expect(unopened.splice(0).map(({ reason }) => reason)).toEqual(["altered", "altered"]);
});

describe("an encrypted backplane", () => {
  const make = () => {
    const hub = new MemoryHub();
    const nodes: SealedBackplane[] = [];
    return {
      node() {
        const node = new SealedBackplane(new MemoryBackplane(hub), seal("backplane"));
        nodes.push(node);
        return node;
      },
      async close() {
        await Promise.all(nodes.map((node) => node.close()));
        expect(unopened).toEqual([]);
      },
    };
  };
  for (const { name, run } of backplaneExam(make)) test(name, run);

  test("tells what it cannot open, and that something may be lost", async () => {
    const hub = new MemoryHub();
    const stranger = new MemoryBackplane(hub);
    await stranger.open(deaf);
    const node = new SealedBackplane(new MemoryBackplane(hub), seal("backplane"));
    const heard: string[] = [];
    await node.open({
      ...deaf,
      hear: (topic, text) => void heard.push(`${topic}: ${text}`),
      lost: ({ topic }) => void heard.push(`${topic}: lost`),
    });
    await node.subscribe("t");
    stranger.publish("t", () => "clear text");
    stranger.publish("t", () => seal("backplane").seal("of another topic", "u"));
    stranger.publish("t", () => seal("backplane").seal("of this one", "t"));
    await stranger.flush();
    await node.close();
    expect(heard).toEqual(["t: lost", "t: lost", "t: of this one"]);
    expect(unopened.splice(0)).toEqual([
      { carrier: "backplane", target: "t", reason: "not-encrypted" },
      { carrier: "backplane", target: "t", reason: "altered" },
    ]);
  });
});

describe("an encrypted history", () => {
  const make = (ttls: MemoryLogsOptions) => {
    const logs = new MemoryLogs(ttls);
    const nodes: SealedHistory[] = [];
    return {
      node() {
        const node = new SealedHistory(new MemoryHistory(logs), seal("history"), seal("presence"));
        nodes.push(node);
        return node;
      },
      async forget() {
        logs.clear();
      },
      async close() {
        await Promise.all(nodes.map((node) => node.close()));
        expect(unopened).toEqual([]);
      },
    };
  };
  for (const { name, run } of historyExam(make)) test(name, run);

  test("keeps the place of what it cannot open", async () => {
    const logs = new MemoryLogs();
    const inner = new MemoryHistory(logs);
    const store = new SealedHistory(inner, seal("history"), seal("presence"));
    await store.open();
    const kept = { size: 10, ttlMs: 60_000 };
    await store.append("g", "one", kept);
    await inner.append("g", seal("history").seal("of another group", "h"), kept);
    await inner.append(
      "g",
      '{"v":1,"from":"x","kind":"emit","event":"e"}\n[{"kind":"join","user":"u","info":""}]',
      kept,
    );
    await inner.append("g", `${seal("presence").sealSame("x", "h", "told")}\n[]`, kept);
    await store.append("g", "five", kept);
    const { entries } = await store.read("g", 0, 10);
    expect(entries.map(({ text }) => text)).toEqual(["one", "", "", "", "five"]);
    expect(unopened.splice(0).map(({ reason }) => reason)).toEqual(["altered", "not-encrypted", "altered"]);
    await store.close();
  });
});

describe("an encrypted presence", () => {
  const make = () => {
    const hub = new MemoryPresenceHub();
    const logs = new MemoryLogs();
    return {
      node: () => new SealedPresence(new MemoryPresence(hub, 300), seal("presence")),
      history: () => new SealedHistory(new MemoryHistory(logs), seal("history"), seal("presence")),
      isEmpty: async () => hub.size === 0,
      async close() {
        expect(unopened).toEqual([]);
      },
    };
  };
  for (const { name, run } of presenceExam(make)) test(name, run);
});
