/** A server that publishes over HTTP, clients in its groups, and programs that post to it. */

import { connect as connectTcp, type Socket as TcpSocket } from "node:net";
import { expect } from "@jest/globals";
import { type Application, type ApplicationOptions, Consumer, createApplication, http, route } from "sluice";
import {
  createPublishingKey,
  type PublishingKey,
  type PublishingOptions,
  publishing,
} from "sluice/publishing";
import { createServer, type Server, type ServerOptions } from "sluice/server";
import { TestCluster } from "sluice/testing";
import type { Socket } from "socket.io-client";
import { atEnd, connected, stock, until } from "../server/live-server.ts";

/** Joins the group that its path names. */
class Member extends Consumer {
  override async connect(): Promise<void> {
    await this.groupAdd(this.scope.params.group ?? "");
    this.send("welcome", this.channel);
  }
}

/** A client, and all that came to it. */
export class Listener {
  readonly channel: string;
  readonly heard: unknown[][] = [];

  private constructor(socket: Socket, channel: string) {
    this.channel = channel;
    socket.onAny((event: string, ...payload: unknown[]) => this.heard.push([event, ...payload]));
  }

  static async open(url: string, group: string): Promise<Listener> {
    const socket = stock(`${url}/${group}`);
    const welcome = new Promise<string>((resolve) => socket.once("welcome", resolve));
    await connected(socket);
    return new Listener(socket, await welcome);
  }

  /** Once the event of that name is here, all that came so far. */
  async until(event: string): Promise<unknown[][]> {
    await until(() => this.heard.some(([name]) => name === event), `the event "${event}"`);
    return this.heard;
  }
}

export interface Posted {
  readonly status: number;
  readonly body: unknown;
  readonly headers: Headers;
}

export interface PostOptions {
  readonly key?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: string;
}

export interface Scene {
  readonly app: Application;
  readonly server: Server;
  readonly url: string;
  readonly port: number;
  /** Valid for `chat.*` and `user.*.orders`, unless the test said otherwise. */
  readonly key: string;
  listener(group: string): Promise<Listener>;
  /** Posts below `/api`; a body that is no text goes as JSON. */
  post(path: string, body: unknown, options?: PostOptions): Promise<Posted>;
  /** A connection to write HTTP into by hand. */
  raw(): Promise<RawHttp>;
}

export interface SceneOptions extends Partial<PublishingOptions> {
  readonly application?: Partial<ApplicationOptions>;
  /** One that is there already, say a node of a cluster, with `routes`. */
  readonly app?: Application;
  readonly server?: ServerOptions;
}

export const GROUPS = ["chat.*", "user.*.orders"];

export const routes = [
  route("/:group", Member),
  http("/other", (_request, response) => void response.send("other")),
];

export async function scene({
  application = {},
  app = createApplication({ routes, ...application }),
  server: given,
  ...options
}: SceneOptions = {}): Promise<Scene> {
  const { key, hash } = createPublishingKey();
  const keys: readonly PublishingKey[] = [{ name: "billing", hash, groups: GROUPS }];
  const server = createServer(app, { port: 0, stopTimeoutMs: 2_000, ...given });
  server.express.use("/api", publishing({ layer: app.layer, signals: app.signals, keys, ...options }));
  atEnd(() => server.stop());
  const { url, port } = await server.listen();
  return {
    app,
    server,
    url,
    port,
    key,
    listener: (group) => Listener.open(url, group),
    post: (path, body, posting) => post(`${url}/api${path}`, body, { key, ...posting }),
    raw: () => RawHttp.open(port),
  };
}

/** Several of them, as nodes of one cluster. */
export async function nodesOf(
  options: Partial<ApplicationOptions> = {},
): Promise<[Scene, Scene, TestCluster]> {
  const cluster = await TestCluster.start({ routes, ...options });
  atEnd(() => cluster.stop());
  return [await scene({ app: cluster.node(1).app }), await scene({ app: cluster.node(2).app }), cluster];
}

export async function post(
  url: string,
  body: unknown,
  { key = "", headers = {}, method = "POST" }: PostOptions = {},
): Promise<Posted> {
  const response = await fetch(url, {
    method,
    headers: {
      "content-type": "application/json",
      ...(key === "" ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    ...(body === undefined
      ? {}
      : { body: typeof body === "string" || body instanceof Buffer ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    body: text === "" ? undefined : JSON.parse(text),
    headers: response.headers,
  };
}

/** HTTP by hand. */
export class RawHttp {
  readonly socket: TcpSocket;
  received = "";
  isClosed = false;

  private constructor(socket: TcpSocket) {
    this.socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (text) => {
      this.received += String(text);
    });
    socket.on("error", () => {});
    socket.once("close", () => {
      this.isClosed = true;
    });
    atEnd(() => socket.destroy());
  }

  static async open(port: number): Promise<RawHttp> {
    const client = new RawHttp(connectTcp(port, "127.0.0.1"));
    await new Promise((resolve) => client.socket.once("connect", resolve));
    return client;
  }

  /** The head of a `POST` with these header lines; write the body with `write`. */
  begin(path: string, lines: readonly string[]): void {
    this.write([`POST /api${path} HTTP/1.1`, "Host: localhost", ...lines, "", ""].join("\r\n"));
  }

  write(text: string): void {
    this.socket.write(text, "latin1");
  }

  /** The statuses of all answers so far. */
  get statuses(): readonly number[] {
    return [...this.received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  }

  async answers(count = 1): Promise<readonly number[]> {
    await until(() => this.statuses.length >= count, `${count} answers`);
    return this.statuses;
  }

  closed(): Promise<void> {
    return until(() => this.isClosed, "the connection is closed").then(() => {});
  }
}

/** What stands in the layer's place: notes what it is given, and does with it what the test wants. */
export class FakeLayer {
  readonly emitted: unknown[][] = [];
  isDegraded = false;
  #answer: () => unknown = () => undefined;

  async groupEmit(...given: unknown[]): Promise<void> {
    this.emitted.push(given);
    await this.#answer();
  }

  set answer(answer: () => unknown) {
    this.#answer = answer;
  }
}

/** The body of an error. */
export function refusal(
  code: string,
  message: unknown = expect.any(String),
): Readonly<Record<string, unknown>> {
  return { error: expect.objectContaining({ code, message }) };
}
