import { test } from "@jest/globals";
import { type ExamQueue, MemoryQueue, sourceExam } from "sluice/bridges";
import { until } from "../redis/redis-server.ts";

async function makeQueue(): Promise<ExamQueue> {
  const queue = new MemoryQueue();
  return {
    put: async (text, headers) => void queue.put(text, headers),
    source: () => queue.source(),
    rejected: async (count) => {
      await until(() => queue.rejected.length >= count);
      return queue.rejected;
    },
    cut: async () => queue.cut(),
    close: async () => {},
  };
}

for (const { name, run } of sourceExam(makeQueue)) test(name, run);
