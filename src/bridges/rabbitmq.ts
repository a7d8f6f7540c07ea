/** `sluice/bridges/rabbitmq`: a queue of RabbitMQ, by AMQP 0-9-1 and the package `amqplib`. */
import type { Channel, ChannelModel, ConsumeMessage, MessageProperties, Options } from "amqplib";
import { ConfigurationError, peer } from "../index.ts";
import type { Source, SourceLink, SourceMessage, SourceTaker } from "./types.ts";

/** Where RabbitMQ is, and which queue is read. */
export interface RabbitmqOptions {
  /** `amqp://user:password@host:5672/vhost`, `amqps://...`, or amqplib's options where a text will not do. */
  readonly url: string | Options.Connect;
  /** Must exist: who runs the queue decides what it is like, and where its rejected messages go. */
  readonly queue: string;
  /** Handed to amqplib's `connect`, e.g. `{ ca: [...] }`. */
  readonly socketOptions?: Readonly<Record<string, unknown>>;
  /** How long a connection may take to come about. */
  readonly connectTimeoutMs?: number;
}

/** What RabbitMQ says when trying again is of no use. */
const FOR_GOOD = /ACCESS[-_]REFUSED|NOT[-_]FOUND|NOT[-_]ALLOWED|RESOURCE[-_]LOCKED/;

/**
 * A queue of RabbitMQ. A message that is rejected goes to the queue's dead letter exchange; without one RabbitMQ
 * forgets it. What was in hand when a connection ends comes again, marked as redelivered.
 *
 * @example
 * new RabbitmqSource({ url: "amqp://localhost", queue: "orders" });
 */
export class RabbitmqSource implements Source {
  readonly name: string;
  readonly #options: RabbitmqOptions;

  /** @throws ConfigurationError that lists what is wrong */
  constructor(options: RabbitmqOptions) {
    const { url, queue } = options;
    const faults: string[] = [];
    const isUrl = typeof url === "string" ? /^amqps?:\/\//.test(url) && URL.canParse(url) : url !== undefined;
    if (!isUrl)
      faults.push("url must be amqp://user:password@host:port/vhost (or amqps), or amqplib's options");
    if (typeof queue !== "string" || queue === "") faults.push("queue must be the name of a queue");
    if (faults.length > 0) throw new ConfigurationError(faults);
    this.#options = options;
    this.name = `RabbitMQ queue "${queue}"`;
  }

  async connect(taker: SourceTaker, prefetch: number): Promise<SourceLink> {
    const { url, socketOptions = {}, connectTimeoutMs = 15_000 } = this.#options;
    const { connect } = await peer("amqplib", () => import("amqplib"));
    const options = { timeout: connectTimeoutMs, ...socketOptions };
    const connection: ChannelModel = await connect(url as string, options).catch((error) => {
      throw this.#told(error);
    });
    let ended = false;
    let why: Error | undefined;
    const end = (reason?: Error) => {
      why ??= reason;
      if (ended) return;
      ended = true;
      taker.lost(why ?? new Error(`${this.name}: the connection was closed`));
    };
    // "error" says why, "close" follows.
    connection.on("error", (error) => {
      why ??= error;
    });
    connection.on("close", end);
    try {
      const channel = await connection.createChannel();
      channel.on("error", (error) => {
        why ??= error;
      });
      channel.on("close", () => end());
      await channel.checkQueue(this.#options.queue);
      await channel.prefetch(prefetch);
      const isOpen = () => !ended;
      const { consumerTag } = await channel.consume(this.#options.queue, (message) => {
        if (message === null)
          end(new Error(`${this.name}: RabbitMQ cancelled the consumer; is the queue deleted?`));
        else taker.message(messageOf(message, channel, isOpen));
      });
      return {
        pause: async () => {
          if (isOpen()) await channel.cancel(consumerTag);
        },
        close: async () => {
          ended = true;
          await connection.close().catch(() => {});
        },
      };
    } catch (error) {
      ended = true;
      await connection.close().catch(() => {});
      throw this.#told(why ?? (error as Error));
    }
  }

  #told(error: Error): Error {
    // All that amqplib says of a refused virtual host.
    if (error.message.startsWith("Expected ConnectionOpenOk")) {
      const fault = "RabbitMQ refused the virtual host; does it exist, is it up, and may this user use it?";
      return new ConfigurationError([`${this.name}: ${fault}`]);
    }
    if (!FOR_GOOD.test(error.message)) return error;
    return new ConfigurationError([`${this.name}: ${error.message}; do queue, user and rights exist?`]);
  }
}

function messageOf(message: ConsumeMessage, channel: Channel, isOpen: () => boolean): SourceMessage {
  const settle = (how: () => void) => {
    if (!isOpen()) throw new Error("the connection it came over is gone");
    how();
  };
  return {
    id: text(message.properties.messageId),
    bytes: message.content,
    headers: headersOf(message),
    isRedelivered: message.fields.redelivered,
    accept: async () => settle(() => channel.ack(message)),
    reject: async () => settle(() => channel.reject(message, false)),
  };
}

const NAMES = [
  ["content-type", "contentType"],
  ["content-encoding", "contentEncoding"],
  ["correlation-id", "correlationId"],
  ["reply-to", "replyTo"],
  ["type", "type"],
  ["app-id", "appId"],
] as const satisfies readonly (readonly [string, keyof MessageProperties])[];

/** The publisher's own headers, AMQP's properties under their names there, and `routing-key` and `exchange`. */
function headersOf({ properties, fields }: ConsumeMessage): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const [name, value] of Object.entries(properties.headers ?? {})) headers.set(name, text(value));
  for (const [name, property] of NAMES) {
    if (properties[property] !== undefined) headers.set(name, text(properties[property]));
  }
  return headers.set("exchange", fields.exchange).set("routing-key", fields.routingKey);
}

function text(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
