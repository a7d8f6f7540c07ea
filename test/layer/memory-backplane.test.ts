import { describe, expect, test } from "@jest/globals";
import { MemoryBackplane, MemoryHub } from "sluice";
import { backplaneExam } from "sluice/testing";
import { seeded } from "../seeded.ts";
import { deaf } from "./deaf.ts";

function clusterOf(hub: MemoryHub) {
  const nodes: MemoryBackplane[] = [];
  return {
    node() {
      const node = new MemoryBackplane(hub);
      nodes.push(node);
      return node;
    },
    async close() {
      await Promise.all(nodes.map((node) => node.close()));
      expect(hub.size).toBe(0);
    },
  };
}

describe.each([
  ["at once", () => new MemoryHub()],
  ["after 3 ms", () => new MemoryHub(3)],
  [
    "after a time that varies",
    () => {
      const random = seeded(7);
      return new MemoryHub(() => random() * 6);
    },
  ],
] as const)("the memory backplane that delivers %s", (_when, makeHub) => {
  for (const { name, run } of backplaneExam(() => clusterOf(makeHub()))) test(name, run);
});

test("nothing is encoded when no other node listens", async () => {
  const hub = new MemoryHub();
  const alone = new MemoryBackplane(hub);
  await alone.open(deaf);
  await alone.subscribe("t");
  let encoded = 0;
  alone.publish("t", () => {
    encoded += 1;
    return "text";
  });
  expect(encoded).toBe(0);
});
