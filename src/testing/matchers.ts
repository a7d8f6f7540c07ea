/**
 * Matchers for `expect.extend(matchers)` of Jest, or of any runner with the same contract. Nothing of a runner
 * is imported.
 */
import type { Application } from "../index.ts";
import { whatIsLeft } from "./nothing-left.ts";
import { type Entry, type ReceivedEvent, TestClient } from "./test-client.ts";

/** What a runner lends its matchers. */
interface Lent {
  readonly isNot?: boolean;
  readonly promise?: string;
  readonly customTesters?: readonly unknown[];
  equals(a: unknown, b: unknown, ...rest: readonly unknown[]): boolean;
  readonly utils: {
    printExpected(value: unknown): string;
    printReceived(value: unknown): string;
    matcherHint(name: string, received?: string, expected?: string, options?: object): string;
  };
}

interface Verdict {
  readonly pass: boolean;
  message(): string;
}

/**
 * What `expect(...)` has after `expect.extend(matchers)`. For Jest, once in a project:
 *
 * @example
 * declare module "expect" {
 *   interface Matchers<R extends void | Promise<void>, T = unknown> extends SluiceMatchers {}
 * }
 */
export interface SluiceMatchers {
  /** The client, or what its `connect()` said, was let in. A client that has not connected is connected first. */
  toBeAccepted(): Promise<void>;
  /** Likewise: refused, with that close code, and that reason if it is given. */
  toBeRefusedWith(code: number, reason?: unknown): Promise<void>;
  /**
   * The client has got that event, with that payload if it is given, or gets it in time (`timeoutMs` of the
   * client). It takes nothing. With `.not`: it has not when the application has nothing left to do.
   */
  toHaveReceived(event: string, payload?: unknown): Promise<void>;
  /** The server has closed the client with that code, or does in time; and with that reason if it is given. */
  toBeClosedWith(code: number, reason?: unknown): Promise<void>;
  /** The application keeps nothing for anybody: `app.sizes` is all zero. */
  toBeEmpty(): void;
}

const SHOWN = 10;

async function toBeAccepted(this: Lent, subject: unknown): Promise<Verdict> {
  const entry = await entryOf("toBeAccepted", subject);
  return {
    pass: entry.accepted,
    message: () => `${hint(this, "toBeAccepted", "")}\n\n${shownEntry(this, entry)}`,
  };
}

async function toBeRefusedWith(
  this: Lent,
  subject: unknown,
  code: number,
  ...reasons: readonly unknown[]
): Promise<Verdict> {
  const entry = await entryOf("toBeRefusedWith", subject);
  const pass = !entry.accepted && isSaid(this, entry, code, reasons);
  return {
    pass,
    message: () =>
      `${hint(this, "toBeRefusedWith", "code")}\n\nExpected: ${this.isNot ? "not " : ""}${shownCode(this, code, reasons)}\n${shownEntry(this, entry)}`,
  };
}

async function toHaveReceived(
  this: Lent,
  subject: unknown,
  event: string,
  ...payloads: readonly unknown[]
): Promise<Verdict> {
  const client = clientOf("toHaveReceived", subject);
  const is = (received: ReceivedEvent) =>
    received.event === event &&
    (payloads.length === 0 || this.equals(received.payload, payloads[0], this.customTesters ?? []));
  let trouble = "";
  if (this.isNot) await client.quiet();
  else {
    await client.receives(`the event "${event}"`, is).catch((error: Error) => {
      trouble = `\n${error.message}`;
    });
  }
  const pass = client.received.some(is);
  const expected = payloads.length === 0 ? "" : ` ${this.utils.printExpected(payloads[0])}`;
  return {
    pass,
    message: () =>
      `${hint(this, "toHaveReceived", "event, payload")}\n\nExpected${this.isNot ? " not" : ""}: "${event}"${expected}\n${shownEvents(this, client)}${trouble}`,
  };
}

async function toBeClosedWith(
  this: Lent,
  subject: unknown,
  code: number,
  ...reasons: readonly unknown[]
): Promise<Verdict> {
  const client = clientOf("toBeClosedWith", subject);
  if (this.isNot) await client.quiet();
  const waited = this.isNot ? Promise.resolve(client.closedWith) : client.closed();
  const closed = await waited.catch(() => undefined);
  return {
    pass: closed !== undefined && isSaid(this, closed, code, reasons),
    message: () => {
      const seen = closed === undefined ? "it is open" : shownCode(this, closed.code, [closed.reason]);
      return `${hint(this, "toBeClosedWith", "code")}\n\nExpected${this.isNot ? " not" : ""}: ${shownCode(this, code, reasons)}\nReceived: ${seen}`;
    },
  };
}

function toBeEmpty(this: Lent, subject: unknown): Verdict {
  const app = subject as Application;
  if (typeof app?.sizes !== "object") {
    throw new TypeError("toBeEmpty() is for an Application: expect(app).toBeEmpty()");
  }
  const left = whatIsLeft(app);
  return {
    pass: left === "",
    message: () => `${hint(this, "toBeEmpty", "")}\n\nThe application has ${left || "nothing"}`,
  };
}

/**
 * @example
 * expect.extend(matchers);
 * await expect(ann).toBeAccepted();
 * await expect(ann).toHaveReceived("message", { text: "hi" });
 */
export const matchers = { toBeAccepted, toBeRefusedWith, toHaveReceived, toBeClosedWith, toBeEmpty };

function clientOf(matcher: string, subject: unknown): TestClient {
  if (subject instanceof TestClient) return subject;
  throw new TypeError(`${matcher}() is for a TestClient: await expect(client).${matcher}(...)`);
}

async function entryOf(matcher: string, subject: unknown): Promise<Entry> {
  if (subject instanceof TestClient) return subject.entry ?? subject.connect();
  if (typeof (subject as Entry | undefined)?.accepted === "boolean") return subject as Entry;
  throw new TypeError(`${matcher}() is for a TestClient, or for what its connect() resolved with`);
}

function isSaid(
  lent: Lent,
  said: { readonly code: number; readonly reason: string },
  code: number,
  reasons: readonly unknown[],
): boolean {
  return said.code === code && (reasons.length === 0 || lent.equals(said.reason, reasons[0]));
}

function hint({ isNot = false, promise = "", utils }: Lent, name: string, expected: string): string {
  return utils.matcherHint(name, undefined, expected, { isNot, promise });
}

function shownCode({ utils }: Lent, code: number, reasons: readonly unknown[]): string {
  return reasons.length === 0 ? String(code) : `${code} ${utils.printExpected(reasons[0])}`;
}

function shownEntry({ utils }: Lent, entry: Entry): string {
  if (entry.accepted) return "Received: accepted";
  const thrown = entry.error === undefined ? "" : `\nThe consumer threw: ${String(entry.error)}`;
  return `Received: refused with ${entry.code} ${utils.printReceived(entry.reason)}${thrown}`;
}

function shownEvents({ utils }: Lent, client: TestClient): string {
  const last = client.received.slice(-SHOWN);
  if (last.length === 0) return "Received: nothing";
  const lines = last.map(({ event, payload }) => `  "${event}" ${utils.printReceived(payload)}`);
  const before = client.received.length - last.length;
  return `Received: ${before > 0 ? `${before} events, then` : ""}\n${lines.join("\n")}`;
}
