import cluster from "node:cluster";
import type { Logger } from "../logger.ts";
import { Colleague } from "./colleague.ts";
import type { ProcessHub } from "./process-hub.ts";
import type { Passed } from "./protocol.ts";

/** A process that ends sooner than this after its beginning has died early. */
const EARLY_MS = 10_000;
/** After so many early deaths in a row at one place it is given up, if nobody serves. */
const MAX_EARLY_DEATHS = 5;
const FIRST_DELAY_MS = 200;
/** While others serve, so that an outage of something a beginning needs does not end them as well. */
const MAX_DELAY_MS = 15_000;
/** On top of what the processes themselves may take to stop. */
const STOP_MARGIN_MS = 5_000;

export interface CrewOptions {
  readonly size: number;
  /** The program that the processes run, and its arguments. */
  readonly exec: string;
  readonly args: readonly string[];
  /** In the processes' environment, beside ours. */
  readonly env: Readonly<Record<string, string>>;
  /** Serves their backplanes; undefined if they have another one. */
  readonly hub: ProcessHub | undefined;
  readonly logger: Logger;
}

/** Why there is no crew (any more). */
export class CrewFailed extends Error {
  /** Of the process that ended last; null after a signal. */
  readonly exitCode: number | null;

  constructor(message: string, exitCode: number | null) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * The processes that serve one port. One that ends is replaced: at once if it had lived for a while, after
 * a growing delay if it had not. After five early deaths in a row with nobody serving it is given up.
 */
export class Crew {
  readonly #options: CrewOptions;
  readonly #colleagues = new Map<number, Colleague>();
  readonly #delays = new Set<NodeJS.Timeout>();
  readonly #gaveUp: (failure: CrewFailed) => void;
  #started = false;
  #stopping: { resolve(isWell: boolean): void; isWell: boolean } | undefined;

  /** @param gaveUp - called once if the crew cannot be kept up; it is still to be stopped then */
  constructor(options: CrewOptions, gaveUp: (failure: CrewFailed) => void) {
    this.#options = options;
    this.#gaveUp = gaveUp;
  }

  /**
   * Resolves when all serve. The first one goes ahead: what is wrong is said once, not by all.
   *
   * @throws CrewFailed when the first one ends before it serves
   */
  async start(): Promise<void> {
    const { exec, args, size } = this.#options;
    // Advanced: bytes travel as bytes.
    cluster.setupPrimary({ exec, args: [...args], serialization: "advanced" });
    await new Promise<void>((resolve, reject) => this.#begin({ ready: resolve, failed: reject }, 0));
    this.#started = true;
    await Promise.all(
      Array.from({ length: size - 1 }, () => new Promise<void>((ready) => this.#begin({ ready }, 0))),
    );
  }

  /** Who has this session, or else who has least to do; undefined while nobody serves. */
  hostFor(process: number | undefined): Colleague | undefined {
    const known = process === undefined ? undefined : this.#colleagues.get(process);
    if (known?.isServing) return known;
    let best: Colleague | undefined;
    for (const colleague of this.#colleagues.values()) {
      if (!colleague.isServing) continue;
      if (best === undefined || isLess(colleague.reluctance, best.reluctance)) best = colleague;
    }
    return best;
  }

  /** What `stop` may take. */
  get stopMs(): number {
    return Math.max(0, ...[...this.#colleagues.values()].map(({ stopMs }) => stopMs)) + STOP_MARGIN_MS;
  }

  /** Asks all to stop. Resolves when they have; false if not all ended well. */
  stop(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#stopping = { resolve, isWell: true };
      for (const timer of this.#delays) clearTimeout(timer);
      for (const { worker } of this.#colleagues.values()) worker.process.kill("SIGTERM");
      this.#checkStopped();
    });
  }

  /** Ends all at once. */
  kill(): void {
    for (const { worker } of this.#colleagues.values()) worker.process.kill("SIGKILL");
  }

  #begin(hopes: { ready?(): void; failed?(failure: CrewFailed): void }, earlyDeaths: number): void {
    const { env, hub, logger } = this.#options;
    const worker = cluster.fork(env);
    const ready = () => {
      logger.info({ process: worker.id, pid: worker.process.pid }, "process serves");
      hopes.ready?.();
    };
    const colleague = new Colleague(worker, ready, (message) => this.#pass(colleague, message));
    this.#colleagues.set(worker.id, colleague);
    hub?.add(worker as never);
    worker.once("exit", (code: number | null, signal: string | null) => {
      this.#colleagues.delete(worker.id);
      const { isServing, isLeaving, bornAt } = colleague;
      colleague.end();
      const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
      if (this.#stopping !== undefined) {
        if (isServing && code !== 0) this.#stopping.isWell = false;
        return this.#checkStopped();
      }
      if (!this.#started) {
        return hopes.failed?.(new CrewFailed(`the first process ended ${how} before it served`, code));
      }
      const asked = isLeaving && code === 0;
      const isEarly = !asked && performance.now() - bornAt < EARLY_MS;
      const deaths = isEarly ? earlyDeaths + 1 : 0;
      const line = { process: worker.id, pid: worker.process.pid, code, signal };
      if (deaths >= MAX_EARLY_DEATHS && !this.#isServing) {
        logger.error(line, "process ended");
        return this.#gaveUp(
          new CrewFailed(
            `a process ended ${how}, ${deaths} times in a row soon after its beginning; the log above says why`,
            code,
          ),
        );
      }
      const delayMs = isEarly ? Math.min(FIRST_DELAY_MS * 2 ** earlyDeaths, MAX_DELAY_MS) : 0;
      if (asked) logger.info(line, "process ended as it was asked to; another one begins");
      else logger.error({ ...line, delayMs }, "process ended; another one begins");
      this.#beginLater({ ...(isServing ? {} : hopes) }, deaths, delayMs);
    });
  }

  /** From one process to others. Nothing of it is kept: who asks knows how long it waits. */
  #pass(from: Colleague, message: Passed): void {
    const { number } = message;
    const by = from.worker.id;
    if (message.sluice === "answer") {
      return this.#colleagues.get(message.to)?.call({ sluice: "answered", by, number, text: message.text });
    }
    const others = [...this.#colleagues.values()].filter((other) => other !== from && other.isServing);
    from.call({ sluice: "expect", number, processes: others.map(({ worker }) => worker.id) });
    for (const other of others) other.call({ sluice: "asked", by, number });
  }

  get #isServing(): boolean {
    return [...this.#colleagues.values()].some(({ isServing }) => isServing);
  }

  #beginLater(hopes: { ready?(): void }, earlyDeaths: number, delayMs: number): void {
    const timer = setTimeout(() => {
      this.#delays.delete(timer);
      this.#begin(hopes, earlyDeaths);
    }, delayMs);
    this.#delays.add(timer);
  }

  #checkStopped(): void {
    if (this.#colleagues.size === 0) this.#stopping?.resolve(this.#stopping.isWell);
  }
}

function isLess(a: readonly [number, number], b: readonly [number, number]): boolean {
  return a[0] - b[0] < 0 || (a[0] === b[0] && a[1] < b[1]);
}
