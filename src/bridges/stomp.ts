/** `sluice/bridges/stomp`: a queue of ActiveMQ, or of whatever else speaks STOMP 1.2, by `@stomp/stompjs`. */
import { connect as connectTcp } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { IFrame, IMessage, IStompSocket } from "@stomp/stompjs";
import { ConfigurationError, peer } from "../index.ts";
import { TcpSocket } from "./tcp-socket.ts";
import type { Source, SourceLink, SourceMessage, SourceTaker } from "./types.ts";

/** Where a broker that speaks STOMP is, and which destination is read. */
export interface StompOptions {
  /** `stomp://user:password@host:61613`, or `stomps://...` over TLS. */
  readonly url: string;
  /** As the broker names it: `/queue/orders` (ActiveMQ, RabbitMQ), `orders` (Artemis). */
  readonly destination: string;
  /** The virtual host; by default the URL's path, or `/`. Only RabbitMQ and Artemis look at it. */
  readonly vhost?: string;
  /** More headers of SUBSCRIBE, e.g. `{ selector: "region = 'eu'" }`. */
  readonly subscribeHeaders?: Readonly<Record<string, string>>;
  readonly tls?: ConnectionOptions;
  /** How often either side says that it lives; two that are missed end the connection. */
  readonly heartbeatMs?: number;
  readonly connectTimeoutMs?: number;
}

/** A broker that hangs does not say that it has understood the goodbye. */
const CLOSE_TIMEOUT_MS = 3_000;

/** What brokers say when trying again is of no use; STOMP has no codes. */
const FOR_GOOD = /Bad CONNECT|access.refused|invalid|denied|not authorized|security|not found|not.allowed/i;

/**
 * A queue by STOMP. A message that is rejected is NACKed: ActiveMQ moves it to its dead letter queue
 * (`ActiveMQ.DLQ`), RabbitMQ to the queue's dead letter exchange, if there is one.
 *
 * @example
 * new StompSource({ url: "stomp://admin:secret@localhost:61613", destination: "/queue/orders" });
 */
export class StompSource implements Source {
  readonly name: string;
  readonly #options: StompOptions;
  readonly #url: URL;

  /** @throws ConfigurationError that lists what is wrong */
  constructor(options: StompOptions) {
    const { url, destination } = options;
    const faults: string[] = [];
    const isUrl = typeof url === "string" && /^stomps?:\/\/./.test(url) && URL.canParse(url);
    if (!isUrl) faults.push("url must be stomp://user:password@host:port (or stomps)");
    if (typeof destination !== "string" || destination === "")
      faults.push("destination must be a queue's name");
    if (faults.length > 0) throw new ConfigurationError(faults);
    this.#options = options;
    this.#url = new URL(url);
    this.name = `STOMP destination "${destination}"`;
  }

  async connect(taker: SourceTaker, prefetch: number): Promise<SourceLink> {
    const {
      destination,
      subscribeHeaders = {},
      heartbeatMs = 10_000,
      connectTimeoutMs = 15_000,
    } = this.#options;
    const { Client } = await peer("@stomp/stompjs", () => import("@stomp/stompjs"));
    return new Promise((resolve, reject) => {
      let state: "connecting" | "open" | "ended" = "connecting";
      let why: Error | undefined;
      const isOpen = () => state === "open";
      const timer = setTimeout(() => {
        why ??= new Error(`${this.name}: no answer within ${connectTimeoutMs} ms`);
        client.forceDisconnect();
        end();
      }, connectTimeoutMs);
      const end = () => {
        const before = state;
        if (before === "ended") return;
        state = "ended";
        clearTimeout(timer);
        client.deactivate({ force: true }).catch(() => {});
        const reason = why ?? new Error(`${this.name}: the connection was closed`);
        if (before === "connecting") reject(reason);
        else taker.lost(reason);
      };
      const client = new Client({
        webSocketFactory: () => this.#socket((error) => (why ??= error)),
        connectHeaders: this.#headers(),
        reconnectDelay: 0,
        heartbeatIncoming: heartbeatMs,
        heartbeatOutgoing: heartbeatMs,
        onWebSocketClose: end,
        onStompError: (frame) => {
          why = this.#refused(frame, state === "connecting");
          // The broker closes after it; not all of them at once.
          client.forceDisconnect();
          end();
        },
        onConnect: () => {
          const receipt = "subscribed";
          client.watchForReceipt(receipt, () => {
            if (state !== "connecting") return;
            state = "open";
            clearTimeout(timer);
            for (const message of early.splice(0)) taker.message(messageOf(message, isOpen));
            resolve({
              // UNSUBSCRIBE would put back what is in hand. A bridge that stops takes no notice of what comes now.
              pause: async () => {},
              close: async () => {
                state = "ended";
                const impatient = setTimeout(() => client.forceDisconnect(), CLOSE_TIMEOUT_MS);
                await client.deactivate().finally(() => clearTimeout(impatient));
              },
            });
          });
          const early: IMessage[] = [];
          client.subscribe(
            destination,
            (message) => {
              if (state === "connecting") early.push(message);
              else taker.message(messageOf(message, isOpen));
            },
            {
              ...subscribeHeaders,
              ack: "client-individual",
              // RabbitMQ's name for it, and ActiveMQ's.
              "prefetch-count": String(prefetch),
              "activemq.prefetchSize": String(prefetch),
              receipt,
            },
          );
        },
      });
      client.activate();
    });
  }

  #headers(): Record<string, string> {
    const { username, password, pathname } = this.#url;
    const path = decodeURIComponent(pathname.replace(/^\//, ""));
    const host = this.#options.vhost ?? (path === "" ? "/" : path);
    if (username === "") return { host };
    return { host, login: decodeURIComponent(username), passcode: decodeURIComponent(password) };
  }

  #socket(onError: (error: Error) => void): IStompSocket {
    const { protocol, hostname, port } = this.#url;
    const isTls = protocol === "stomps:";
    const address = {
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port || (isTls ? 61_614 : 61_613)),
    };
    const socket = isTls
      ? connectTls({ servername: hostname, ...this.#options.tls, ...address })
      : connectTcp(address);
    socket.on("error", onError);
    return new TcpSocket(socket, isTls ? "secureConnect" : "connect", this.#url.host);
  }

  #refused({ headers, body }: IFrame, isConnecting: boolean): Error {
    const said = [headers.message, body.trim().slice(0, 300)].filter(Boolean).join(": ");
    const text = `${this.name}: the broker said "${said}"`;
    return isConnecting && FOR_GOOD.test(said) ? new ConfigurationError([text]) : new Error(text);
  }
}

function messageOf(message: IMessage, isOpen: () => boolean): SourceMessage {
  const { headers } = message;
  const settle = (how: () => void) => {
    if (!isOpen()) throw new Error("the connection it came over is gone");
    how();
  };
  // RabbitMQ's message-id is the delivery's; ActiveMQ's is the message's.
  const isRabbit = headers["message-id"]?.startsWith("T_") ?? false;
  return {
    id: headers["amqp-message-id"] ?? (isRabbit ? "" : (headers["message-id"] ?? "")),
    bytes: message.binaryBody,
    headers: new Map(Object.entries(headers)),
    isRedelivered: headers.redelivered === "true",
    accept: async () => settle(() => message.ack()),
    // RabbitMQ would put it back otherwise.
    reject: async () => settle(() => message.nack({ requeue: "false" })),
  };
}
