/** Stock clients in one chat room that talk at a fixed rate, and the account of what each of them heard. */
import { recover } from "sluice/client";
import { io, type Socket } from "socket.io-client";
import { keepCookies } from "../deploy/browser-cookies.ts";
import { type Account, Ledger } from "./ledger.ts";

const TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]];
const ANSWER_MS = 10_000;
const MOST_FAILURES = 20;

export class Crowd {
  readonly #url: string;
  readonly #members: Member[] = [];
  readonly #ledger = new Ledger();
  /** Attempts to come back that failed since `begin`, and how; the first few. */
  readonly #failures: string[] = [];
  #ticker: NodeJS.Timeout | undefined;
  #next = 0;

  constructor(url: string) {
    this.#url = url;
  }

  get size(): number {
    return this.#members.length;
  }

  /** How many are served by each node, by the name of its host. */
  get byNode(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { node, isIn } of this.#members) {
      if (isIn) counts.set(node, (counts.get(node) ?? 0) + 1);
    }
    return counts;
  }

  get isComplete(): boolean {
    return this.#members.every(({ isIn }) => isIn);
  }

  /** Clients of every transport in turn; they come in by themselves. */
  grow(count: number): void {
    for (let n = 0; n < count; n++) {
      const index = this.#members.length;
      const transports = TRANSPORTS[index % TRANSPORTS.length] ?? [];
      const extraHeaders = {};
      const socket = io(`${this.#url}/chat/compose`, {
        transports,
        extraHeaders,
        forceNew: true,
        withCredentials: true, // in Node that makes a jar for the balancer's cookie, as browsers have
        auth: { name: `client ${index}`, secret: `the secret of client ${index}` },
      });
      // As the page does, or who comes back would be given the room's last messages anew.
      recover(socket);
      keepCookies(socket, extraHeaders);
      socket.io.on("reconnect_error", (error) => {
        const { status } = (error as { readonly context?: { readonly status?: number } }).context ?? {};
        const how = `client ${index} (${transports.join()}): ${error.message} ${status ?? ""}`;
        if (this.#failures.length < MOST_FAILURES) this.#failures.push(how.trim());
      });
      this.#members.push(new Member(index, socket, this.#ledger));
    }
  }

  talk(perSecond: number): void {
    this.#ticker = setInterval(() => this.#sayOne(), 1000 / perSecond);
  }

  hush(): void {
    clearInterval(this.#ticker);
  }

  /** One message of a client on each node; resolves when all have heard all of them. */
  sayFromEachNode(): number {
    const speakers = new Map(this.#members.map((member) => [member.node, member]));
    for (const speaker of speakers.values()) this.#say(speaker);
    return speakers.size;
  }

  get failures(): readonly string[] {
    return this.#failures;
  }

  begin(): void {
    this.#failures.length = 0;
    this.#ledger.begin(performance.now());
  }

  /** What happened since `begin`. */
  account(): Account {
    return this.#ledger.account(performance.now());
  }

  /** Whether all that was sent has arrived with all who were there. */
  get isSettled(): boolean {
    return this.#ledger.isSettled;
  }

  leave(): void {
    this.hush();
    for (const { socket } of this.#members) socket.disconnect();
  }

  /** Members take turns; one that is away is passed over, as people would. */
  #sayOne(): void {
    for (let n = 0; n < this.#members.length; n++) {
      const member = this.#members[this.#next++ % this.#members.length];
      if (member?.isIn) return this.#say(member);
    }
  }

  #say(member: Member): void {
    const present = this.#members.filter(({ isIn }) => isIn).map(({ index }) => index);
    const text = this.#ledger.sent(performance.now(), present, this.#members.length - present.length);
    const told = member.socket.timeout(ANSWER_MS).emitWithAck("say", { text });
    told.then(
      (answer: { readonly error?: unknown } | undefined) =>
        answer?.error === undefined ? this.#ledger.accepted(text) : this.#ledger.refused(text),
      () => this.#ledger.refused(text),
    );
  }
}

class Member {
  readonly index: number;
  readonly socket: Socket;
  /** The host of the node that serves it. */
  node = "";
  isIn = false;

  constructor(index: number, socket: Socket, ledger: Ledger) {
    this.index = index;
    this.socket = socket;
    socket.on("node", ({ name }: { name: string }) => {
      this.node = name.split("@").at(-1) ?? name;
    });
    socket.on("welcome", () => {
      this.isIn = true;
      ledger.cameIn(index, performance.now());
    });
    socket.on("disconnect", () => {
      this.isIn = false;
      ledger.wentAway(index, performance.now());
    });
    socket.on("message", ({ text }: { text: string }) => ledger.heard(index, text, performance.now()));
  }
}
