/** A real Kafka for tests: one broker (KRaft), behind a door. Wants its jars in the folder KAFKA_LIBS. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { testNeeding } from "../needing.ts";
import { freePort, until } from "../redis/redis-server.ts";
import { Door } from "./door.ts";

const LIBS = process.env.KAFKA_LIBS ?? "/opt/kafka/libs";

const isNewEnough = "withResolvers" in Promise;

export const hasKafka = isNewEnough && existsSync(LIBS);

/** A test that is skipped, by name, where there is no Kafka. */
export const kafkaTest = testNeeding(hasKafka, "wants Node.js 22, and Kafka's jars in the folder KAFKA_LIBS");

export class KafkaServer {
  /** Everybody comes through it: Kafka tells its clients where it is. */
  readonly door: Door;
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(door: Door, folder: string, process: ChildProcess) {
    this.door = door;
    this.#folder = folder;
    this.#process = process;
  }

  static async start(): Promise<KafkaServer> {
    const folder = await mkdtemp(join(tmpdir(), "kafka-"));
    const [port, controllerPort] = [await freePort(), await freePort()];
    const door = await Door.before(port);
    const config = join(folder, "server.properties");
    const lines = [
      "process.roles=broker,controller",
      "node.id=1",
      `controller.quorum.voters=1@127.0.0.1:${controllerPort}`,
      `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
      `advertised.listeners=PLAINTEXT://127.0.0.1:${door.port}`,
      "controller.listener.names=CONTROLLER",
      "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
      `log.dirs=${join(folder, "data")}`,
      "offsets.topic.replication.factor=1",
      "offsets.topic.num.partitions=1",
      "transaction.state.log.replication.factor=1",
      "transaction.state.log.min.isr=1",
      "group.initial.rebalance.delay.ms=0",
      "group.min.session.timeout.ms=500",
      "auto.create.topics.enable=false",
    ];
    await writeFile(config, `${lines.join("\n")}\n`);
    const java = ["-Xmx256m", "-cp", `${LIBS}/*`];
    const id = randomBytes(16).toString("base64url");
    const format = [...java, "kafka.tools.StorageTool", "format", "-t", id, "-c", config];
    await promisify(execFile)("java", format);
    const child = spawn("java", [...java, "kafka.Kafka", config], { stdio: "ignore", cwd: folder });
    const server = new KafkaServer(door, folder, child);
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`kafka ended with ${child.exitCode}`);
      return Door.leadsSomewhere(port);
    });
    return server;
  }

  get broker(): string {
    return `127.0.0.1:${this.door.port}`;
  }

  async close(): Promise<void> {
    await this.door.close();
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
    await rm(this.#folder, { recursive: true, force: true });
  }
}
