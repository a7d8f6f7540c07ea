import { setTimeout as sleep } from "node:timers/promises";
import { CuttableWay } from "../redis/cut-off.ts";
import { FaultyNode, type NodeEar } from "./node.ts";
import type { RedisPlace } from "./redis-place.ts";

const START_AGAIN_MS = 200;
/** Longer than its `stopTimeoutMs`. */
const STOP_MS = 12_000;
/** From the word to stop until its process is gone. */
const END_MS = 12_000;

/** A place where one node after the other lives, with a way of its own to Redis. */
export class NodeSlot {
  readonly way: CuttableWay;
  readonly #redis: RedisPlace;
  readonly #secret: string;
  readonly #ear: NodeEar;
  #node: FaultyNode | undefined;
  #starting: Promise<void> | undefined;
  #isClosing = false;

  private constructor(way: CuttableWay, redis: RedisPlace, secret: string, ear: NodeEar) {
    this.way = way;
    this.#redis = redis;
    this.#secret = secret;
    this.#ear = ear;
  }

  static async open(redis: RedisPlace, secret: string, ear: NodeEar): Promise<NodeSlot> {
    const slot = new NodeSlot(await CuttableWay.to(redis.port), redis, secret, ear);
    await slot.start();
    return slot;
  }

  /** Undefined while none lives here. */
  get node(): FaultyNode | undefined {
    return this.#node?.isAlive ? this.#node : undefined;
  }

  /** Where its node listens, or the last one did. */
  get port(): number {
    return this.#node?.port ?? 0;
  }

  /** Tries until one lives here: Redis may be away. Never two, however many ask. */
  start(): Promise<void> {
    this.#starting ??= this.#startOne().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #startOne(): Promise<void> {
    while (!this.#isClosing && this.node === undefined) {
      const settings = { redis: this.#redis.options(this.way.port), secret: this.#secret };
      try {
        this.#node = await FaultyNode.start(settings, this.#ear);
        return;
      } catch {
        await sleep(START_AGAIN_MS);
      }
    }
  }

  /** @returns the name of the node that was killed */
  async kill(): Promise<string | undefined> {
    const node = this.node;
    await node?.kill();
    return node?.name;
  }

  async freeze(forMs: number): Promise<void> {
    const node = this.node;
    node?.freeze();
    await sleep(forMs);
    node?.thaw();
  }

  /** As for a deploy. @returns the name of the node that has ended */
  async stop(): Promise<string | undefined> {
    const node = this.node;
    await node?.stop(STOP_MS);
    return node?.name;
  }

  /** How it ended when it was let end by itself. */
  async end(): Promise<number | string | undefined> {
    return this.node?.end(END_MS);
  }

  heal(): void {
    this.way.restore();
    this.way.delayMs = () => 0;
    this.node?.thaw();
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.kill();
    await this.way.close();
  }
}
