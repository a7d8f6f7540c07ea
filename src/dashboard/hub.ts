/** What a node with a dashboard knows, and tells those who look at it here. */
import { CloseCode, ConnectionDenied, type Message, type PartContext, type Scope } from "../index.ts";
import { Acts, MAX_NOTICE, NOTICE } from "./acts.ts";
import { BACKLOG, BacklogWatch } from "./backlog.ts";
import { Cluster, type ClusterState } from "./cluster.ts";
import { Desk, type TaskOverview } from "./desk.ts";
import { Guard, sessionKey, type Visitor } from "./guard.ts";
import { SIGNALS } from "./lines.ts";
import type { CheckedOptions } from "./options.ts";
import { type Picture, type Piece, pictureOf, piecesOf } from "./picture.ts";
import { count, fieldsOf, REPORT, REPORTS, readReport, text } from "./report.ts";
import type { SentCounts } from "./sent-counts.ts";
import { type ClusterPoint, pointOf, Timeline } from "./timeline.ts";
import { NO_WISH, WISH, WISH_MS, type Wish, Wishes, wishMessage } from "./wishes.ts";

const LOGOUT = "dashboard.logout";
/** In one message. */
const MAX_TOLD_SESSIONS = 200;
const MAX_LOOKING = 50;

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
  readonly acts: Acts;
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

  constructor(context: PartContext, sent: SentCounts, options: CheckedOptions) {
    this.#context = context;
    this.#options = options;
    const { path, reportMs, historyMs, tasks, redact, brokerTimeoutMs } = options;
    this.guard = new Guard(options, context.secrets, context.signals.audited);
    this.desk = tasks && new Desk(tasks, redact, brokerTimeoutMs);
    this.#timeline = new Timeline(historyMs, reportMs);
    this.#backlog = this.desk && new BacklogWatch(this.desk, reportMs, (message) => this.#say(message));
    this.#point = pointOf(this.#cluster.state);
    this.#wishes = new Wishes(context, sent, path, tasks?.signals);
    this.acts = new Acts(context, this.guard, this.desk);
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
