/** A client of Server-Sent Events for the tests: a stream, and the posts that go with it. */
import { connect as connectTcp, type Socket as TcpSocket } from "node:net";
import { atEnd, until } from "./live-server.ts";

export interface StreamEvent {
  readonly event: string;
  readonly data: unknown;
}

export class EventStream {
  readonly status: number;
  readonly headers: Headers;
  /** All events so far, `sluice.open` first. */
  readonly events: StreamEvent[] = [];
  /** As a browser keeps it. */
  lastEventId = "";
  ended = false;
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #abort: AbortController;

  private constructor(
    url: string,
    headers: Readonly<Record<string, string>>,
    response: Response,
    abort: AbortController,
  ) {
    this.status = response.status;
    this.headers = response.headers;
    this.#url = url;
    this.#headers = headers;
    this.#abort = abort;
    void this.#read(response).catch(() => {
      this.ended = true;
    });
  }

  static async open(url: string, headers: Readonly<Record<string, string>> = {}): Promise<EventStream> {
    const abort = new AbortController();
    atEnd(() => abort.abort());
    const stream = new EventStream(url, headers, await fetch(url, { headers, signal: abort.signal }), abort);
    await stream.next("sluice.open");
    return stream;
  }

  /** The first event of that name, now or later. */
  async next(name: string): Promise<StreamEvent> {
    return until(() => this.events.find(({ event }) => event === name), `the event "${name}"`);
  }

  get key(): string {
    const [open] = this.events as readonly { data: { connection: string } }[];
    return open?.data.connection ?? "";
  }

  /** Posts an event with the stream's key and headers, unless told otherwise. */
  async post(
    body: unknown,
    { url = this.#url, headers = {} }: { url?: string; headers?: Record<string, string> } = {},
  ): Promise<{ status: number; body: unknown }> {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        ...this.#headers,
        "content-type": "application/json",
        "sluice-connection": this.key,
        ...headers,
      },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  }

  close(): void {
    this.#abort.abort();
  }

  async #read(response: Response): Promise<void> {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) this.#take(block);
    }
    this.ended = true;
  }

  #take(block: string): void {
    const [, id, event, data] =
      /^(?:id: ([^\n]*)\n?)?(?:event: ([^\n]*)\ndata: ?([^\n]*))?$/.exec(block) ?? [];
    if (id !== undefined) this.lastEventId = id;
    if (event === undefined) return;
    this.events.push({ event, data: data ? JSON.parse(data) : undefined });
  }
}

/** Asks for a stream, reads the key in its first event and never anything more. */
export async function openUnread(port: number, path: string): Promise<{ socket: TcpSocket; key: string }> {
  const socket = connectTcp(port, "127.0.0.1");
  atEnd(() => socket.destroy());
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  let text = "";
  const take = (data: Buffer) => {
    text += String(data);
  };
  socket.on("data", take);
  const key = await until(() => /"connection":"([^"]+)"/.exec(text)?.[1], "the key");
  socket.off("data", take).pause();
  return { socket, key };
}
