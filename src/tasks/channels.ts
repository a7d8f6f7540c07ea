/** Named channels: messages that exactly one worker of many handles, at least once. */
import { ConfigurationError, type Message, messageTable } from "../index.ts";
import { DoNotRetry } from "./errors.ts";
import type { TaskRun } from "./run.ts";
import { Task, type TaskOptions } from "./task.ts";

/**
 * Handles messages of a named channel, as a consumer handles those of its own: `thumbnail.make` runs
 * `thumbnailMake(message)`. One instance per message; it runs as a task, in a worker.
 *
 * @example
 * class Thumbnails extends WorkerConsumer {
 *   async thumbnailMake({ url }: { url: string }) {
 *     await shrink(url, { signal: this.run.signal });
 *   }
 * }
 * // new Tasks({ channels: [channel("thumbnails", Thumbnails)], ... })
 * await layer.send("thumbnails", { type: "thumbnail.make", url });
 */
export abstract class WorkerConsumer {
  /** Of this message: id, attempt, signal, layer, progress. */
  readonly run: TaskRun;

  constructor(run: TaskRun) {
    this.run = run;
  }
}

/** A row of the table of named channels. */
export interface WorkerChannel {
  readonly name: string;
  /** @internal */
  readonly task: Task<Message, void>;
}

const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,50}$/;

/**
 * Routes a named channel to a class. Messages nobody handles fail for good, as `no_handler`.
 *
 * @param options - as for tasks: queue, retry, rate, ...
 * @throws ConfigurationError for a name or class that cannot be
 */
export function channel(
  name: string,
  consumer: new (run: TaskRun) => WorkerConsumer,
  options: Omit<TaskOptions, "schema"> = {},
): WorkerChannel {
  if (typeof name !== "string" || !NAME.test(name)) {
    throw new ConfigurationError([
      `a named channel is a letter and up to 50 letters, digits, "-" or "_", not "${String(name)}"`,
    ]);
  }
  const handlers = messageTable(consumer, WorkerConsumer.prototype);
  if (handlers.size === 0) {
    throw new ConfigurationError([
      `${consumer.name} handles no messages: write methods such as thumbnailMake(message), which handles "thumbnail.make"`,
    ]);
  }
  const work = async (message: Message, run: TaskRun) => {
    const handler = handlers.get(message.type);
    if (handler === undefined) {
      throw new DoNotRetry(`no method of ${consumer.name} handles "${message.type}"`, { code: "no_handler" });
    }
    await handler.call(new consumer(run), message);
  };
  return { name, task: new Task<Message, void>(`sluice.channel.${name}`, options, work) };
}
