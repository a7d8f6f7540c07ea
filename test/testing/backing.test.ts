/** What nodes of a cluster are connected by passes the exams of the contracts, as Redis does. */
import { describe, test } from "@jest/globals";
import { MemoryHub, MemoryLogs, type MemoryLogsOptions, MemoryPresenceHub, realClock } from "sluice";
import { backplaneExam, historyExam, presenceExam } from "sluice/testing";
import { Cables } from "../../src/testing/cables.ts";

function board(ttls: MemoryLogsOptions = {}) {
  return {
    clock: realClock,
    hub: new MemoryHub(),
    logs: new MemoryLogs(ttls),
    presences: new MemoryPresenceHub(),
    leaseMs: 300,
  };
}

describe("the backplane of a cluster", () => {
  const cluster = async () => {
    const shared = board();
    return { node: () => new Cables(shared).backplane, close: async () => {} };
  };
  for (const { name, run } of backplaneExam(cluster)) test(name, run);
});

describe("the history of a cluster", () => {
  const exam = historyExam((ttls) => {
    const shared = board(ttls);
    const forget = async () => shared.logs.clear();
    return { node: () => new Cables(shared).history, forget, close: async () => {} };
  });
  for (const { name, run } of exam) test(name, run);
});

describe("the presence of a cluster", () => {
  const exam = presenceExam(() => {
    const shared = board();
    return {
      node: () => new Cables(shared).presence,
      history: () => new Cables(shared).history,
      isEmpty: async () => shared.presences.size === 0,
      close: async () => {},
    };
  });
  for (const { name, run } of exam) test(name, run);
});
