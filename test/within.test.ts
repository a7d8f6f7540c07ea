import { Worker } from "node:worker_threads";
import { expect, test } from "@jest/globals";
import { within } from "../src/within.ts";

const late = () => new Error("late");

/** This thread does nothing else meanwhile. */
function busy(ms: number, isOver = () => true): void {
  const beganAt = performance.now();
  while (performance.now() - beganAt < ms || !isOver()) {
    // As code that computes, or a process that is frozen.
  }
}

test("what takes too long is late", async () => {
  await expect(within(20, new Promise(() => {}), late)).rejects.toThrow("late");
});

test("what fails in time fails as it does", async () => {
  await expect(within(20_000, Promise.reject(new Error("no")), late)).rejects.toThrow("no");
});

test("an answer that came while this process was busy is not late", async () => {
  const answered = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
    parentPort.on("message", () => {
      parentPort.postMessage("yes");
      Atomics.store(workerData, 0, 1);
    });
    parentPort.postMessage("ready");`,
    { eval: true, workerData: answered },
  );
  const next = () => new Promise((resolve) => worker.once("message", resolve));
  await next();
  const answer = next();
  // After what is read in a turn of the event loop; in the next, timers come first.
  await new Promise((resolve) => setImmediate(resolve));
  worker.postMessage("well?");
  const asked = within(40, answer, late);
  busy(60, () => Atomics.load(answered, 0) === 1);
  expect(await asked).toBe("yes");
  await worker.terminate();
});

test("a pause of this process is not all of the time that another had for its answer", async () => {
  // It can only be begun when the pause is over.
  const answer = new Promise((resolve) => {
    const turn = (left: number) => (left === 0 ? resolve("yes") : setImmediate(turn, left - 1));
    setImmediate(turn, 5);
  });
  const asked = within(400, answer, late);
  busy(500);
  expect(await asked).toBe("yes");
});
