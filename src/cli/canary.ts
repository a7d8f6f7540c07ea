import { randomBytes } from "node:crypto";
import { connect, type Socket } from "socket.io-client";
import { recover } from "../client/index.ts";
import { printable } from "../names.ts";
import { within } from "../within.ts";
import { UsageError } from "./complaint.ts";
import type { Environment } from "./environment.ts";
import { isColourful, say } from "./output.ts";
import { type Progress, withProgress } from "./progress.ts";

export interface CanaryOptions {
  readonly key?: string;
  readonly path: string;
  /** In milliseconds, for all steps together. */
  readonly timeout: number;
  readonly json?: boolean;
}

export interface CanaryStep {
  readonly step: "connect" | "join" | "publish" | "hear" | "recover" | "leave";
  readonly ok: boolean;
  readonly ms: number;
  readonly error?: string;
}

/** What the consumer says first. */
interface Hello {
  readonly node: string;
  readonly recovers: boolean;
}

/**
 * `sluice canary`: two stock clients with `sluice/client` in a group of their own. One tells and the other
 * hears; then the one that hears loses its connection, and must be given what was told meanwhile.
 *
 * @returns 0 if all went well, 1 if a step failed
 * @throws UsageError
 */
export async function canary(
  given: string,
  options: CanaryOptions,
  { CANARY_KEY }: Environment,
): Promise<number> {
  const url = checkedUrl(given);
  const key = options.key ?? CANARY_KEY;
  if (key === undefined) {
    throw new UsageError(
      "which key? set CANARY_KEY to the one that the application's canary({ key }) has, or give --key",
    );
  }
  const flight = new Flight(url, { ...options, key });
  const { steps, nodes } = await withProgress("connect", (progress) => flight.run(progress), options.json);
  const failed = steps.find(({ ok }) => !ok);
  const totalMs = rounded(steps.reduce((sum, { ms }) => sum + ms, 0));
  if (options.json) {
    const report = { url: shown(url), ok: failed === undefined, totalMs, nodes, steps };
    await say(JSON.stringify(report, undefined, 2));
  } else {
    await say(text(url, steps, failed, totalMs, nodes));
  }
  return failed === undefined ? 0 : 1;
}

class Flight {
  readonly #url: URL;
  readonly #options: CanaryOptions & { readonly key: string };
  readonly #steps: CanaryStep[] = [];
  readonly #nodes = new Set<string>();
  readonly #endsAt: number;
  #progress: Progress | undefined;
  #confuse: (error: Error) => void = () => {};
  /** Rejects when the client throws over what it cannot read: it does where nobody can catch it. */
  readonly #confused = new Promise<never>((_, reject) => {
    this.#confuse = ({ message }) => reject(new Error(`what it says cannot be read (${message})`));
  });

  constructor(url: URL, options: CanaryOptions & { readonly key: string }) {
    this.#url = url;
    this.#options = options;
    this.#endsAt = performance.now() + options.timeout;
    this.#confused.catch(() => {});
  }

  async run(progress: Progress): Promise<{ steps: readonly CanaryStep[]; nodes: readonly string[] }> {
    this.#progress = progress;
    const group = randomBytes(9).toString("base64url").replace(/^-/, "_");
    const [ears, mouth] = [this.#client(group), this.#client(group)];
    const recovery = recover(ears);
    const heard: unknown[] = [];
    let gap: string | undefined;
    ears.on("told", (number) => heard.push(number));
    recovery.on("gap", ({ reason }) => {
      gap = reason;
    });
    process.on("uncaughtException", this.#confuse);
    try {
      const greeted = Promise.all([ears, mouth].map(hello));
      greeted.catch(() => {});
      await this.#step("connect", () => Promise.all([ears, mouth].map(opened)));
      const [{ recovers }] = (await this.#step("join", () => greeted)) as [Hello, Hello];
      for (const { node } of await greeted) this.#nodes.add(printable(node));
      const first = told(ears, 1, heard);
      first.catch(() => {});
      await this.#step("publish", () => tell(mouth, 1));
      await this.#step("hear", () => first);
      await this.#step("recover", async () => {
        await cut(ears);
        // While nobody can be told: only a history has it.
        if (recovers) await tell(mouth, 2);
        const again = Promise.all([hello(ears), opened(ears)]);
        const second = told(ears, 2, heard);
        second.catch(() => {});
        ears.connect();
        await again;
        if (!recovers) await tell(mouth, 2);
        await second;
        if (gap !== undefined) throw new Error(`what was told meanwhile is lost (${gap})`);
        if (heard.join() !== "1,2") throw new Error(`heard ${heard.join()} where 1,2 was told`);
      });
      await this.#step("leave", () => Promise.all([ears, mouth].map(left)));
    } catch (error) {
      // The step has noted it; without one that failed it would look as if all went well.
      if (this.#steps.every(({ ok }) => ok)) throw error;
    } finally {
      recovery.stop();
      for (const socket of [ears, mouth]) socket.disconnect();
      process.off("uncaughtException", this.#confuse);
    }
    return { steps: this.#steps, nodes: [...this.#nodes] };
  }

  #client(group: string): Socket {
    const { path, key } = this.#options;
    const { origin, pathname } = this.#url;
    const socket = connect(`${origin}${path.replace(/\/$/, "")}/${group}`, {
      path: `${pathname.replace(/\/$/, "")}/socket.io/`,
      auth: { key },
      extraHeaders: credentials(this.#url),
      forceNew: true,
      autoConnect: false,
      // Coming back is a step of its own.
      reconnection: false,
      timeout: this.#options.timeout,
    });
    return socket;
  }

  async #step<T>(step: CanaryStep["step"], act: () => Promise<T>): Promise<T> {
    this.#progress?.now(step);
    const beganAt = performance.now();
    const late = () => new Error(`not done within ${this.#options.timeout} ms`);
    try {
      const done = Promise.race([act(), this.#confused]);
      const value = await within(Math.max(1, this.#endsAt - beganAt), done, late);
      this.#steps.push({ step, ok: true, ms: rounded(performance.now() - beganAt) });
      return value;
    } catch (error) {
      const ms = rounded(performance.now() - beganAt);
      this.#steps.push({ step, ok: false, ms, error: printable((error as Error).message, 300) });
      throw error;
    }
  }
}

/** For a server behind HTTP's basic authentication (RFC 7617), as browsers take it from an address. */
function credentials({ username, password }: URL): Record<string, string> {
  if (username === "" && password === "") return {};
  // A % that begins no character is one, as in browsers.
  const both = `${decoded(username)}:${decoded(password)}`;
  return { Authorization: `Basic ${Buffer.from(both).toString("base64")}` };
}

function decoded(part: string): string {
  return part.replace(/(%[0-9a-f]{2})+/gi, (bytes) =>
    Buffer.from(bytes.replaceAll("%", ""), "hex").toString(),
  );
}

/** Connects the transport; the namespace comes with it. */
function opened(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.io.once("open", () => resolve());
    socket.io.once("error", (error) =>
      reject(
        new Error(
          `nothing of Socket.IO answers there (${error.message}): is the address right, and does the server run?`,
        ),
      ),
    );
    socket.connect();
  });
}

/** Resolves when the consumer has let it in, with what it says first. */
function hello(socket: Socket): Promise<Hello> {
  return new Promise((resolve, reject) => {
    socket.once("hello", (said: Partial<Hello> | undefined | null) => {
      if (typeof said?.node === "string") resolve(said as Hello);
      else reject(new Error("who answers there is no canary of Sluice"));
    });
    socket.once("connect_error", (error: Error & { readonly data?: { readonly code?: number } }) => {
      // The second is what Socket.IO itself says where there are no routes at all.
      const isNowhere = error.data?.code === 4404 || error.message === "Invalid namespace";
      reject(
        isNowhere
          ? new Error(
              'there is no canary: give the application parts: [canary({ key })] of "sluice/canary", and the server the same key (CANARY_KEY)',
            )
          : error,
      );
    });
  });
}

/** Resolves when it has heard that number, perhaps before it was asked. */
function told(socket: Socket, number: number, heard: readonly unknown[]): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!heard.includes(number)) return;
      socket.off("told", look);
      resolve();
    };
    socket.on("told", look);
  });
}

async function tell(socket: Socket, number: number): Promise<void> {
  const answer: unknown = await socket.emitWithAck("tell", number);
  if (answer === true) return;
  const { error } = (answer ?? {}) as { readonly error?: { readonly message?: unknown } };
  throw new Error(`it was not taken: ${String(error?.message ?? JSON.stringify(answer))}`);
}

/** As a network that goes away; not a goodbye. */
function cut(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once("disconnect", () => resolve());
    socket.io.engine.close();
  });
}

function left(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once("disconnect", () => resolve());
    socket.disconnect();
  });
}

function checkedUrl(given: string): URL {
  const text = /^[a-z]+:\/\//i.test(given) ? given : `http://${given}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^(https?|wss?):$/.test(url.protocol)) return url;
  throw new UsageError(
    `"${printable(given)}" is no address of a server; write http://host:port or https://host`,
  );
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** Without what may be a secret: who one is, and what stands behind the question mark. */
function shown({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}

function text(
  url: URL,
  steps: readonly CanaryStep[],
  failed: CanaryStep | undefined,
  totalMs: number,
  nodes: readonly string[],
): string {
  const paint = isColourful(process.stdout);
  const sign = (ok: boolean) => {
    const plain = ok ? "✓" : "✗";
    return paint ? `\u001b[${ok ? 32 : 31}m${plain}\u001b[0m` : plain;
  };
  const lines = steps.map(
    ({ step, ok, ms, error }) =>
      `${sign(ok)} ${step.padEnd(8)}${`${ms.toFixed(1)} ms`.padStart(12)}${error === undefined ? "" : `  ${error}`}`,
  );
  const place = nodes.length > 1 ? `, by ${nodes.length} nodes` : "";
  const where = shown(url);
  const sum =
    failed === undefined ? `${where} works: ${totalMs} ms${place}` : `${where} fails: ${failed.step}`;
  return [...lines, "", sum].join("\n");
}
