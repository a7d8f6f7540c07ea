/**
 * The exam that every task broker passes. It needs no test runner: each case is a name and a function
 * that throws when the promise in its name is broken.
 *
 * @example
 * for (const { name, run } of brokerExam(makeCluster, false)) test(name, run);
 */
import assert from "node:assert/strict";
import type { TaskBroker } from "../index.ts";
import type { ExamCase } from "./backplane-exam.ts";
import { proveAround } from "./broker-exam-around.ts";
import { proveJobs } from "./broker-exam-jobs.ts";
import { proveTrees } from "./broker-exam-trees.ts";
import { type Prove, Scene } from "./broker-scene.ts";

/** Brokers over jobs of their own. */
export interface BrokerCluster {
  /** Another broker, not open yet; of the same jobs, if it is shared. */
  broker(): TaskBroker;
  close(): Promise<void>;
}

/** @param isShared - what the brokers say of themselves; those that share have more to show */
export function brokerExam(
  makeCluster: () => BrokerCluster | Promise<BrokerCluster>,
  isShared: boolean,
): ExamCase[] {
  const exam: ExamCase[] = [];
  const prove: Prove = (name, run) => {
    exam.push({
      name,
      async run() {
        const cluster = await makeCluster();
        const scenes: Scene[] = [];
        const join = async () => {
          const scene = new Scene(cluster.broker());
          scenes.push(scene);
          await scene.open();
          return scene;
        };
        try {
          const scene = await join();
          assert.equal(scene.broker.isShared, isShared);
          await run(scene, join);
        } finally {
          await Promise.all(scenes.map(({ broker }) => broker.close(0)));
          await cluster.close();
        }
      },
    });
  };

  proveJobs(prove);
  proveTrees(prove);
  proveAround(prove, isShared);
  return exam;
}
