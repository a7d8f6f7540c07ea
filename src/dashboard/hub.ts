/** What a node with a dashboard knows, and tells those who look at it here. */
import { randomBytes } from "node:crypto";
import {
  CloseCode,
  ConnectionClosed,
  ConnectionDenied,
  InvalidMessage,
  type Message,
  type PartContext,
  printable,
  type Scope,
  thrownText,
} from "../index.ts";
import { BACKLOG, BacklogWatch } from "./backlog.ts";
import { Cluster, type ClusterState } from "./cluster.ts";
import { Desk, type TaskOverview } from "./desk.ts";
import { Guard, sessionKey, type Visitor } from "./guard.ts";
import { SIGNALS } from "./lines.ts";
import type { CheckedOptions } from "./options.ts";
import { type Picture, type Piece, pictureOf, piecesOf } from "./picture.ts";
import { count, fieldsOf, REPORT, REPORTS, readReport, text } from "./report.ts";
import { type ClusterPoint, pointOf, Timeline } from "./timeline.ts";
import { NO_WISH, WISH, WISH_MS, type Wish, Wishes, wishMessage } from "./wishes.ts";

const NOTICE = "dashboard.notice";
const LOGOUT = "dashboard.logout";
/** In one message. */
const MAX_TOLD_SESSIONS = 200;
const MAX_LOOKING = 50;
const MAX_NOTICE = 500;
const MAX_USER = 256;

/** A page that is open. */
export interface Looking {
  readonly channel: string;
  /** Wants to know of the tasks. */
  readonly wantsTasks: boolean;
  readonly wish: Wish;
  show(pieces: PicturePieces): void;
  showTasks(pieces: TaskPieces): void;
}

export type PicturePieces = readonly Piece<Picture & { readonly at: number; readonly point: ClusterPoint }>[];
export type PastPieces = readonly Piece<{ readonly points: readonly ClusterPoint[] }>[];
export type TaskPieces = readonly Piece<TaskOverview>[];

export class Hub {
  readonly guard: Guard;
  readonly desk: Desk | undefined;
  readonly #context: PartContext;
  readonly #options: CheckedOptions;
  readonly #cluster = new Cluster();
  readonly #timeline: Timeline;
  readonly #backlog: BacklogWatch | undefined;
  readonly #wishes: Wishes;
  readonly #looking = new Set<Looking>();
  readonly #timers: readonly NodeJS.Timeout[];
  #stopListening: () => void = () => {};
  /** The latest. */
  #point: ClusterPoint;

  constructor(context: PartContext, options: CheckedOptions) {
    this.#context = context;
    this.#options = options;
    const { path, reportMs, historyMs, tasks, redact, brokerTimeoutMs } = options;
    this.guard = new Guard(options, context.secrets, context.signals.audited);
    this.desk = tasks && new Desk(tasks, redact, brokerTimeoutMs);
    this.#timeline = new Timeline(historyMs, reportMs);
    this.#backlog = this.desk && new BacklogWatch(this.desk, reportMs, (message) => this.#say(message));
    this.#point = pointOf(this.#cluster.state);
    this.#wishes = new Wishes(context, path, tasks?.signals);
    this.#timers = [
      setInterval(() => this.#show(), reportMs),
      setInterval(() => this.#wishAgain(), WISH_MS / 3),
    ];
    for (const timer of this.#timers) timer.unref();
  }

  async open(): Promise<void> {
    this.#stopListening = await this.#context.layer.listen(REPORTS, (message) => this.#hear(message));
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#stopListening();
    this.#wishes.stop();
  }

  // ---- those who look -----------------------------------------------------------------------------

  /** @throws ConnectionDenied when too many look */
  enter(page: Looking): object {
    if (this.#looking.size >= MAX_LOOKING) {
      throw new ConnectionDenied(CloseCode.tooMany, "too many have the dashboard open");
    }
    this.#looking.add(page);
    const { reportMs, historyMs } = this.#options;
    return {
      ...{ node: this.#context.node, reportMs, historyMs, hasTasks: this.desk !== undefined },
      signals: this.#options.tasks?.signals ? SIGNALS : SIGNALS.filter((name) => !name.startsWith("task.")),
    };
  }

  /** How the cluster stands, as pages are told. */
  get picture(): PicturePieces {
    return this.#pictureOf(this.#cluster.state);
  }

  #pictureOf(state: ClusterState): PicturePieces {
    return this.#pieces(pictureOf(state)).map((piece) => ({ ...piece, at: state.at, point: this.#point }));
  }

  /** How it stood. */
  get past(): PastPieces {
    return this.#pieces({ points: this.#timeline.points });
  }

  /** How tasks stand, if they are shown. */
  async tasks(): Promise<TaskPieces> {
    if (this.desk === undefined) return [];
    const { queues, workers, schedules, ...about } = await this.desk.overview();
    return this.#pieces({ queues, workers, schedules }).map((piece) => ({ ...about, ...piece }));
  }

  leave(page: Looking): void {
    if (!this.#looking.delete(page)) return;
    if (page.wish !== NO_WISH) this.#say(wishMessage(page.channel, NO_WISH));
  }

  /** To all nodes, and again as long as the page is open. */
  wish(page: Looking): void {
    this.#say(wishMessage(page.channel, page.wish));
  }

  // ---- what they do ---------------------------------------------------------------------------------

  /**
   * Does what somebody asked for, and leaves a line of it whatever becomes of it.
   *
   * @throws ConnectionDenied if they may not any more; InvalidMessage, LayerUnavailable
   */
  async act(scope: Scope, payload: unknown): Promise<object> {
    const given = fieldsOf(payload);
    const target = typeof given.target === "string" ? given.target.slice(0, MAX_NOTICE) : "";
    const fact = { action: text(given.action), target, remoteAddress: scope.remoteAddress };
    const { audited } = this.#context.signals;
    let by = "nobody";
    try {
      const visitor = await this.guard.visitorOf(scope);
      if (visitor === undefined) {
        throw new ConnectionDenied(CloseCode.unauthenticated, "the login is over; log in again");
      }
      by = visitor.who;
      const answer = await this.#perform(...actionOf(given), given);
      audited.announce({ ...fact, by, outcome: "done" });
      return answer;
    } catch (error) {
      const outcome = error instanceof ConnectionDenied ? "refused" : "failed";
      audited.announce({ ...fact, by, outcome, reason: thrownText(error) });
      throw error;
    }
  }

  /** Ends a login on all nodes, and what is open by it. */
  async logout({ session, who }: Visitor, scope: Scope): Promise<void> {
    this.guard.end(session);
    this.#say({ type: LOGOUT, sessions: [session] });
    const { remoteAddress } = scope;
    const fact = { action: "logout", target: "", by: who, remoteAddress };
    this.#context.signals.audited.announce({ ...fact, outcome: "done" });
    const { connection } = scope;
    await connection.closeKeyed(sessionKey(session), CloseCode.unauthenticated, "logged out");
  }

  async #perform(
    action: Action,
    target: string,
    { mayReturn }: Readonly<Record<string, unknown>>,
  ): Promise<object> {
    const code = mayReturn === true ? CloseCode.unavailable : CloseCode.forbidden;
    const reason = "closed by an operator";
    const { app } = this.#context;
    switch (action) {
      case "disconnect connection":
        return this.#closeChannel(target, code, reason);
      case "disconnect user":
        if (target.length > MAX_USER) throw new InvalidMessage("this is no user's name");
        await app.closeUser(target, code, reason);
        return {};
      case "send notice":
        if (target.length > MAX_NOTICE)
          throw new InvalidMessage(`a notice has up to ${MAX_NOTICE} characters`);
        this.#context.layer.tellListeners(REPORTS, {
          ...{ type: NOTICE, id: randomBytes(9).toString("base64url"), text: target, at: Date.now() },
        });
        return {};
      case "retry task":
      case "cancel task":
      case "discard task":
        return this.#actOnTask(action.slice(0, -" task".length) as "retry", target);
      case "pause queue":
      case "resume queue":
        await this.#deskOrRefuse.steer(action.slice(0, -" queue".length) as "pause", target);
        return {};
    }
  }

  async #actOnTask(action: "retry" | "cancel" | "discard", id: string): Promise<object> {
    if (await this.#deskOrRefuse.act(action, id)) return {};
    const why = { retry: "has not failed", cancel: "has ended", discard: "runs" };
    throw new InvalidMessage(`nothing was done: this run ${why[action]}, or is not known any more`);
  }

  async #closeChannel(channel: string, code: number, reason: string): Promise<object> {
    for (const layer of this.#context.app.layers.values()) {
      try {
        await layer.closeChannel(channel, code, reason);
        return {};
      } catch (error) {
        if (!(error instanceof ConnectionClosed)) throw error;
      }
    }
    throw new InvalidMessage("this connection has ended already");
  }

  get #deskOrRefuse(): Desk {
    if (this.desk !== undefined) return this.desk;
    throw new InvalidMessage("this dashboard shows no tasks: give it dashboard({ tasks })");
  }

  // ---- what nodes say -------------------------------------------------------------------------------

  #hear(message: Message): void {
    switch (message.type) {
      case REPORT: {
        const report = readReport(message);
        if (report !== undefined && this.#cluster.hear(report)) this.#sayEnded();
        return;
      }
      case WISH:
        return this.#wishes.hear(message);
      case BACKLOG:
        return this.#backlog?.hear(message);
      case LOGOUT: {
        const sessions = Array.isArray(message.sessions) ? message.sessions.slice(0, MAX_TOLD_SESSIONS) : [];
        for (const { id, endsAt } of sessions.map(fieldsOf)) {
          this.guard.end({ id: text(id), endsAt: count(endsAt) });
        }
        return;
      }
      case NOTICE: {
        const words = typeof message.text === "string" ? message.text.slice(0, MAX_NOTICE) : "";
        if (words.trim() === "") return;
        const notice = { id: text(message.id), text: words, at: count(message.at) };
        void this.#context.app.tellAll(notice);
      }
    }
  }

  #say(message: Message): void {
    try {
      this.#context.layer.tellListeners(REPORTS, message);
    } catch {
      // The layer closes; so does all that waits for this.
    }
  }

  #sayEnded(): void {
    const { ended } = this.guard;
    for (let at = 0; at < ended.length; at += MAX_TOLD_SESSIONS) {
      this.#say({ type: LOGOUT, sessions: ended.slice(at, at + MAX_TOLD_SESSIONS) });
    }
  }

  #show(): void {
    this.#backlog?.look();
    const { state } = this.#cluster;
    this.#point = pointOf(state, this.#backlog?.current);
    this.#timeline.add(this.#point);
    if (this.#looking.size === 0) return;
    const picture = this.#pictureOf(state);
    for (const page of this.#looking) page.show(picture);
    const pages = [...this.#looking].filter(({ wantsTasks }) => wantsTasks);
    if (pages.length === 0) return;
    void this.tasks().then((pieces) => {
      for (const page of pages) if (this.#looking.has(page)) page.showTasks(pieces);
    });
  }

  /** Of a size that every node may send, with room for what stands around the lists. */
  #pieces<Lists extends { readonly [Name in keyof Lists]: readonly unknown[] }>(lists: Lists) {
    return piecesOf(lists, this.#context.app.settings.limits.maxMessageBytes / 2);
  }

  #wishAgain(): void {
    for (const page of this.#looking) if (page.wish !== NO_WISH) this.wish(page);
  }
}

const ACTIONS = [
  ...(["disconnect connection", "disconnect user", "send notice"] as const),
  ...(["retry task", "cancel task", "discard task", "pause queue", "resume queue"] as const),
] as const;
type Action = (typeof ACTIONS)[number];

/** @throws InvalidMessage */
function actionOf({ action, target }: Readonly<Record<string, unknown>>): readonly [Action, string] {
  const known = ACTIONS.find((name) => name === action);
  if (known === undefined) throw new InvalidMessage(`there are the actions ${ACTIONS.join(", ")}`);
  if (typeof target !== "string" || target.trim() === "" || target.length > MAX_NOTICE) {
    throw new InvalidMessage(`"${printable(known)}" needs a target: text of up to ${MAX_NOTICE} characters`);
  }
  return [known, target];
}
