/** The demo chat on a free port of this process, and windows of a real Chromium that look at it. */
import type { Server as HttpsServer } from "node:https";
import { afterAll, afterEach, beforeAll, expect, jest } from "@jest/globals";
import type {
  Browser,
  BrowserContext,
  BrowserContextOptions,
  Locator,
  Page,
  WebSocket,
} from "playwright-core";
import {
  type Application,
  type ApplicationOptions,
  createApplication,
  MemoryHistory,
  type TaskBroker,
} from "sluice";
import { createServer, type Server } from "sluice/server";
import { MemoryBroker, Tasks } from "sluice/tasks";
import { Diary } from "../../consumers/diary.ts";
import { exportFiles } from "../../routing/exports.ts";
import { groups } from "../../routing/groups.ts";
import { guestInfo } from "../../routing/guests.ts";
import { pages } from "../../routing/pages.ts";
import { chatRoutes } from "../../routing/routes.ts";
import { work } from "../../routing/tasks.ts";
import { describeWithChromium } from "./chromium.ts";
import { clientFiles } from "./client-files.ts";

/** What a fact may take before a test gives up on it. */
const PATIENCE_MS = 15_000;
jest.setTimeout(60_000);

/** What Chromium says of a server that is not there. */
export const UNREACHABLE = /net::ERR_|WebSocket connection to .* failed/;
/** Engine.IO's client polls and says goodbye in one breath; where the goodbye is faster, the poll is too late. */
export const LATE_POLL = /400 \(Bad Request\) .*transport=polling.*&sid=/;

const secret = "a secret that all servers of a test share";

let browser: Browser;
let client: Awaited<ReturnType<typeof clientFiles>>;
const chats: Chat[] = [];

/**
 * Like `describe`, with a browser that the tests share; each test starts a chat of its own. After each one
 * everything is stopped, and no window may have complained. Where there is no Chromium the tests are
 * skipped, and the title says what to do.
 */
export function describeInBrowser(title: string, body: () => void): void {
  describeWithChromium(title, (chromium) => {
    beforeAll(async () => {
      client = await clientFiles();
      browser = chromium();
    });
    afterEach(async () => {
      const complaints = chats.flatMap((chat) => chat.complaints());
      await Promise.all(chats.splice(0).map((chat) => chat.stop()));
      expect(complaints).toEqual([]);
    });
    afterAll(() => client.remove());
    body();
  });
}

export interface ChatOptions {
  readonly limits?: ApplicationOptions["limits"];
  readonly middleware?: ApplicationOptions["middleware"];
  /** What the rooms keep their history in, for each server anew; by default the memory of that server. */
  readonly history?: () => ApplicationOptions["history"];
  /** Carries what is done in the background; by default in the memory of the server. */
  readonly broker?: () => TaskBroker;
  /** False: the rooms keep nothing, and know nobody; nothing is done in the background. */
  readonly keeps?: boolean;
  /** A server of the test's own, listening already. */
  readonly https?: HttpsServer;
}

export interface WindowOptions {
  /** Who sits at it; without a name the page asks. */
  readonly name?: string;
  readonly profile?: BrowserContextOptions;
  /** Before the page is opened. */
  readonly prepare?: (page: Page) => Promise<unknown>;
}

export async function startChat(options: ChatOptions = {}): Promise<Chat> {
  const chat = new Chat(options);
  chats.push(chat);
  await chat.startServer();
  return chat;
}

/** A server, and a window for each person. */
export class Chat {
  readonly #options: ChatOptions;
  readonly #windows: Window[] = [];
  readonly #profiles: BrowserContext[] = [];
  readonly #permitted: RegExp[] = [];
  #server: Server | undefined;
  #url = "";
  #port = 0;

  constructor(options: ChatOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#url;
  }

  get app(): Application {
    if (this.#server === undefined) throw new Error("the server is stopped");
    return this.#server.app;
  }

  get port(): number {
    return this.#port;
  }

  /** A new server, where the one before was; `node` is what its pages call it. */
  async startServer(node = "test-node"): Promise<void> {
    const { https, limits, middleware, keeps = true } = this.#options;
    const history = this.#options.history?.() ?? new MemoryHistory();
    const tasks = new Tasks({ broker: this.#options.broker?.() ?? new MemoryBroker(), ...work });
    const diary = new Diary();
    const app = createApplication({
      routes: chatRoutes({ node, ...(keeps && { diary }) }),
      userInfo: guestInfo,
      ...(keeps && { groups, history, secret, parts: [tasks, diary] }),
      ...(limits && { limits }),
      ...(middleware && { middleware }),
    });
    this.#server = createServer(app, {
      stopTimeoutMs: 1_000, // for what a browser leaves open without using it
      ...(https ? { server: https } : { port: this.#port }),
    });
    this.#server.express.use(pages({ clientFolder: client.folder }));
    if (keeps) this.#server.express.use(exportFiles({ tasks, layer: app.layer }));
    const { url, port } = await this.#server.listen();
    this.#url = url;
    this.#port = port;
  }

  async stopServer(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }

  /** A window of its own browser profile, so another person's. */
  async open(path: string, { name, profile = {}, prepare }: WindowOptions = {}): Promise<Window> {
    const context = await browser.newContext({
      locale: "en-GB",
      reducedMotion: "reduce",
      ...profile,
    });
    this.#profiles.push(context);
    context.setDefaultTimeout(PATIENCE_MS);
    // What the page keeps when it is told a name; one told later stays.
    if (name !== undefined) {
      await context.addInitScript(`localStorage["sluice.name"] ??= ${JSON.stringify(name)}`);
    }
    return this.#windowOn(await context.newPage(), path, prepare);
  }

  /** Another tab of the same person. */
  async openTab(of: Window, path: string): Promise<Window> {
    return this.#windowOn(await of.page.context().newPage(), path);
  }

  /** A window on a room, where the conversation has begun. */
  async enter(room: string, name: string, options: Omit<WindowOptions, "name"> = {}): Promise<Window> {
    const window = await this.open(`/rooms/${room}`, { ...options, name });
    await window.is("live");
    return window;
  }

  /** Complaints of windows that this test brings about on purpose. */
  permit(complaint: RegExp): void {
    this.#permitted.push(complaint);
  }

  /** What windows complained about and may not. */
  complaints(): string[] {
    const all = this.#windows.flatMap((window) => window.complaints);
    return all.filter((complaint) => !this.#permitted.some((permitted) => permitted.test(complaint)));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#profiles.map((context) => context.close()));
    await this.stopServer();
  }

  async #windowOn(page: Page, path: string, prepare?: WindowOptions["prepare"]): Promise<Window> {
    const window = new Window(page);
    this.#windows.push(window);
    await prepare?.(page);
    await page.goto(new URL(path, this.#url).href, { waitUntil: "commit" });
    return window;
  }
}

export type State = "connecting" | "live" | "reconnecting" | "refused";

/** One tab, in the words of who looks at it. */
export class Window {
  readonly page: Page;
  /** What the browser reported: errors in the console, uncaught errors, violations of the CSP. */
  readonly complaints: string[] = [];
  /** Those that carry the connection; what polling carries is not among them (yet). */
  readonly webSockets = new Set<WebSocket>();

  constructor(page: Page) {
    this.page = page;
    page.on("websocket", (socket) => {
      socket.on("close", () => this.webSockets.delete(socket));
      // Engine.IO's "5": from now on this one, and no longer polling.
      socket.on("framesent", ({ payload }) => payload === "5" && this.webSockets.add(socket));
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      if (message.type() !== "error") return;
      const text = message.text();
      // Chromium's own words when a page goes away while its socket opens.
      if (text.includes("WebSocket is closed before the connection is established")) return;
      this.complaints.push(`${text} (${message.location().url})`);
    });
  }

  get composer(): Locator {
    return this.page.getByTestId("composer");
  }

  get error(): Locator {
    return this.page.getByTestId("error");
  }

  get typing(): Locator {
    return this.page.getByTestId("typing");
  }

  /** Waits until the page says that its connection is so. */
  is(state: State): Promise<void> {
    return this.page.locator(`[data-testid="connection-state"][data-state="${state}"]`).waitFor();
  }

  async say(text: string): Promise<void> {
    await this.composer.fill(text);
    await this.page.getByTestId("send").click();
  }

  /** Who the page says serves it; empty while it says nobody does. */
  async node(): Promise<string> {
    const node = this.page.getByTestId("node");
    return (await node.isVisible()) ? ((await node.textContent()) ?? "") : "";
  }

  /** The line that shows how an export goes: its phase and its words. */
  async export(): Promise<string> {
    const line = this.page.getByTestId("export-line");
    return `${await line.getAttribute("data-phase")}: ${await line.getByRole("status").textContent()}`;
  }

  message(text: string): Locator {
    // Not by its time.
    const bubble = this.page.locator(".bubble", { hasText: text });
    return this.page.getByTestId("message").filter({ has: bubble });
  }

  /** The confirmed messages: `Ada: hello`. */
  messages(): Promise<string[]> {
    return this.page
      .locator('[data-testid="message"][data-state="sent"]')
      .evaluateAll((lines) =>
        lines.map(
          (line) =>
            `${line.querySelector(".author")?.textContent}: ${line.querySelector(".bubble")?.textContent}`,
        ),
      );
  }

  /** What the room itself says, without the time: `Ada joined`. */
  systemLines(kind?: "joined" | "left" | "renamed" | "gap"): Promise<string[]> {
    const ofKind = kind === undefined ? "" : `[data-kind="${kind}"]`;
    return this.page.locator(`[data-testid="system-line"]${ofKind} > span`).allTextContents();
  }

  people(): Promise<string[]> {
    return this.page.getByTestId("person").locator(".person-name").allTextContents();
  }

  async peopleCount(): Promise<number> {
    return Number(await this.page.getByTestId("people-count").textContent());
  }

  /** The lobby's list: `{ talk: "2 people" }`. */
  async rooms(): Promise<Record<string, string>> {
    const rows = await this.page
      .getByTestId("room-item")
      .evaluateAll((items) =>
        items.map((item) => [
          item.getAttribute("data-room") ?? "",
          item.querySelector(".room-people")?.textContent ?? "",
        ]),
      );
    return Object.fromEntries(rows);
  }

  /** The server notices at once, as it does when a window is closed that was open for a second or more. */
  async close(): Promise<void> {
    // Between the last poll and the WebSocket nothing tells it, and it would wait for a ping.
    await eventually(() => expect(this.webSockets.size).toBe(1));
    await this.page.close();
  }
}

/** Tries until it does not throw; throws what it threw last when that takes too long. */
export async function eventually<T>(fact: () => T | Promise<T>): Promise<T> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await fact();
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
