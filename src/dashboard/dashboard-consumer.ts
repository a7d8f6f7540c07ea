import {
  CloseCode,
  Consumer,
  type ConsumerTypes,
  deny,
  InvalidMessage,
  type Message,
  NoHandler,
  RateLimited,
  TokenBucket,
} from "../index.ts";
import { readConnections } from "./connections.ts";
import type { ShownJob } from "./desk.ts";
import { type FoundGroups, readGroups } from "./groups.ts";
import type { Visitor } from "./guard.ts";
import type { Hub, Looking, PastPieces, PicturePieces, TaskPieces } from "./hub.ts";
import { isSamePlace, readToldGroup, type ToldGroup } from "./members.ts";
import { count, fieldsOf, text } from "./report.ts";
import { NO_WISH, readWish, type Wish } from "./wishes.ts";

interface Dashboard extends ConsumerTypes {
  options: { readonly hub: Hub };
  sends: {
    hello: object;
    points: PastPieces[number];
    cluster: PicturePieces[number];
    tasks: TaskPieces[number];
    tail: object;
    connections: object;
    groups: FoundGroups & { readonly node: string; readonly words: string };
    group: ToldGroup & { readonly node: string };
  };
  messages: {
    "dashboard.tail": object;
    "dashboard.connections": object;
    "dashboard.groups": object;
    "dashboard.group": object;
  };
}

const ACTS_PER_SECOND = 5;
const LISTS_PER_SECOND = 10;

/** One open page. It is told what the node knows; nothing it asks for waits for another node. */
export class DashboardConsumer extends Consumer<Dashboard> implements Looking {
  /** A broker that is slow must not keep somebody from disconnecting somebody. */
  static override readonly concurrency = 4;
  wantsTasks = false;
  wish: Wish = NO_WISH;
  readonly #acts = new TokenBucket(ACTS_PER_SECOND, 2 * ACTS_PER_SECOND);
  readonly #lists = new TokenBucket(LISTS_PER_SECOND, 2 * LISTS_PER_SECOND);

  override connect(): void {
    const { dashboard } = this.scope.state as { readonly dashboard?: Visitor };
    if (dashboard === undefined) deny(CloseCode.unauthenticated, "log in first");
    const { hub } = this.options;
    this.send("hello", { who: dashboard.who, ...hub.enter(this) });
    for (const piece of hub.past) this.send("points", piece);
    this.show(hub.picture);
  }

  override disconnect(): void {
    this.options.hub.leave(this);
  }

  override async receive(event: string, payload: unknown): Promise<unknown> {
    const { hub } = this.options;
    switch (event) {
      case "wish":
        this.#take(this.#lists);
        this.wish = readWish(fieldsOf(payload));
        hub.wish(this);
        return {};
      case "watch tasks":
        this.wantsTasks = payload === true && hub.desk !== undefined;
        if (this.wantsTasks) this.showTasks(await hub.tasks());
        return {};
      case "jobs":
        return { jobs: await this.#jobs(fieldsOf(payload)) };
      case "act":
        this.#take(this.#acts);
        return hub.acts.act(this.scope, payload);
      default:
        throw new NoHandler("there are the events wish, watch tasks, jobs and act");
    }
  }

  show(pieces: PicturePieces): void {
    for (const piece of pieces) this.send("cluster", piece);
  }

  showTasks(pieces: TaskPieces): void {
    for (const piece of pieces) this.send("tasks", piece);
  }

  dashboardTail({ node, lines, left }: Message): void {
    if (this.wish.signals.length > 0) this.send("tail", { node, lines, left });
  }

  dashboardConnections({ node, words, total, connections }: Message): void {
    if (this.wish.connections !== words) return;
    const list = { words, total: count(total), connections: readConnections(connections) };
    this.send("connections", { node: text(node), ...list });
  }

  dashboardGroups(message: Message): void {
    const { groups: words } = this.wish;
    if (words === undefined || words !== message.words) return;
    this.send("groups", { node: text(message.node), words, ...readGroups(message) });
  }

  dashboardGroup(message: Message): void {
    const told = readToldGroup(message);
    if (told === undefined || !isSamePlace(told, this.wish.group)) return;
    this.send("group", { node: text(message.node), ...told });
  }

  async #jobs({ queue, state, from, id }: Readonly<Record<string, unknown>>): Promise<readonly ShownJob[]> {
    const { desk } = this.options.hub;
    if (desk === undefined)
      throw new InvalidMessage("this dashboard shows no tasks: give it dashboard({ tasks })");
    this.#take(this.#lists);
    if (id === undefined) return desk.list(queue, state, from);
    const found = await desk.find(id);
    return found === undefined ? [] : [found];
  }

  #take(bucket: TokenBucket): void {
    if (!bucket.take()) throw new RateLimited("too much in too little time; try again in a second");
  }
}
