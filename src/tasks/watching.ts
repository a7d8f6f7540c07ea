/**
 * Watching a run: whoever shows a ticket is told its state at once, then every newer one, to the end.
 *
 * The run's record at the broker is the truth. What a worker tells in the run's group comes sooner, and a hint
 * of its end as well; as either may be lost with a worker, the record is looked at now and then.
 */
import type { RequestHandler } from "express";
import {
  Consumer,
  type ConsumerTypes,
  http,
  statusOf as httpStatusOf,
  InvalidMessage,
  type Message,
  NoHandler,
  RateLimited,
  type RouteEntry,
  route,
  type Scope,
  sse,
  type TaskBroker,
  verdictOf,
} from "../index.ts";
import { TicketRefused, UnknownTask } from "./errors.ts";
import { groupOf } from "./job-id.ts";
import { isOlder, isOver, statusOf, type TaskStatus } from "./status.ts";
import type { Ticket } from "./tickets.ts";

export interface WatchHost {
  readonly broker: TaskBroker;
  /** How often the record is looked at while nothing is heard. */
  readonly lookMs: number;
  /** @throws TicketRefused */
  check(ticket: unknown, user: unknown): Ticket;
}

interface Watching extends ConsumerTypes {
  params: { id?: string };
  options: WatchHost;
  receives: { watch: { ticket: string }; unwatch: { id: string } };
  sends: { task: TaskStatus };
  messages: { "task.told": { status: TaskStatus } };
}

interface Watched {
  status: TaskStatus | undefined;
  forget: () => void;
  timer: NodeJS.Timeout | undefined;
}

const MAX_WATCHED = 50;

/** Serves `/tasks`: the event `watch` with `{ ticket }` is answered with the run's state; `task` events follow. */
export class TaskWatcher extends Consumer<Watching> {
  readonly #watched = new Map<string, Watched>();

  override async receive(event: string, payload: unknown): Promise<TaskStatus | undefined> {
    if (event === "watch") return this.watch(textIn(payload, "ticket", event));
    if (event !== "unwatch") throw new NoHandler(`there are the events watch and unwatch, not "${event}"`);
    await this.#end(textIn(payload, "id", event));
    return undefined;
  }

  async watch(ticket: unknown): Promise<TaskStatus> {
    const { id } = this.options.check(ticket, this.scope.user);
    return this.watchRun(id);
  }

  /** Of whose right to watch it nobody doubts any more. */
  protected async watchRun(id: string): Promise<TaskStatus> {
    const known = this.#watched.get(id);
    if (known?.status !== undefined) return known.status;
    if (this.#watched.size >= MAX_WATCHED) {
      throw new RateLimited(`a connection watches up to ${MAX_WATCHED} runs; stop watching one (unwatch)`);
    }
    const watched: Watched = { status: undefined, forget: () => {}, timer: undefined };
    this.#watched.set(id, watched);
    try {
      await this.groupAdd(groupOf(id));
      const forget = await this.options.broker.whenEnded(id, () => void this.#look(id));
      // Its end may have been found before that; then nobody else would call it.
      if (this.#watched.get(id) === watched) watched.forget = forget;
      else forget();
      await this.#lookNow(id);
    } catch (error) {
      await this.#end(id);
      throw error;
    }
    if (watched.status === undefined) throw new UnknownTask(id);
    return watched.status;
  }

  async taskTold({ status }: Message & { readonly status: TaskStatus }): Promise<void> {
    if (this.#watched.has(status.id)) await this.#tell(status);
  }

  override async disconnect(): Promise<void> {
    for (const id of [...this.#watched.keys()]) this.#forget(id);
  }

  /** A run that was watched is over, and its watcher told. */
  protected ended(): void {}

  /** What comes of itself has nobody to tell of its failure; the next look is due anyhow. */
  async #look(id: string): Promise<void> {
    try {
      await this.#lookNow(id);
    } catch {
      this.#lookLater(id);
    }
  }

  async #lookNow(id: string): Promise<void> {
    const record = await this.options.broker.find(id);
    if (!this.#watched.has(id)) return;
    if (record === undefined) return this.#vanished(id);
    await this.#tell(statusOf(record));
  }

  /** Forgotten while it was watched: there is nothing more to come. */
  async #vanished(id: string): Promise<void> {
    const last = this.#watched.get(id)?.status;
    if (last === undefined) throw new UnknownTask(id);
    await this.#tell({
      ...last,
      attempt: last.attempt + 1,
      state: "failed",
      error: { code: "unknown_task", message: "the run is no longer known" },
    });
  }

  async #tell(status: TaskStatus): Promise<void> {
    const { id } = status;
    const watched = this.#watched.get(id);
    if (watched === undefined) return;
    const { status: before } = watched;
    if (before === undefined || isOlder(before, status) || changed(before, status)) {
      watched.status = status;
      this.send("task", status);
    }
    if (!isOver(status)) return this.#lookLater(id);
    await this.#end(id);
    this.ended();
  }

  #lookLater(id: string): void {
    const watched = this.#watched.get(id);
    if (watched === undefined) return;
    clearTimeout(watched.timer);
    watched.timer = setTimeout(() => void this.#look(id), this.options.lookMs);
  }

  async #end(id: string): Promise<void> {
    if (!this.#watched.has(id)) return;
    this.#forget(id);
    await this.groupDiscard(groupOf(id));
  }

  #forget(id: string): void {
    const watched = this.#watched.get(id);
    clearTimeout(watched?.timer);
    watched?.forget();
    this.#watched.delete(id);
  }
}

/** One run, for `curl` and `EventSource`: `GET /tasks/<id>/events?ticket=...`; the stream ends with the run. */
export class TaskStream extends TaskWatcher {
  override async connect(): Promise<void> {
    const ticket = ticketOf(this.scope.headers.authorization, this.scope.query.get("ticket"));
    const { id } = this.options.check(ticket, this.scope.user);
    if (id !== this.scope.params.id) throw new TicketRefused("the ticket is for another run");
    await this.watchRun(id);
  }

  protected override ended(): void {
    // One that was over from the start: not before the client was let in.
    setImmediate(() => {
      if (!this.scope.closed.aborted) this.close(4404, "the run is over");
    });
  }
}

/** The routes by which runs are watched, below a path. */
export function watchRoutes(path: string, host: WatchHost): readonly RouteEntry[] {
  const status: RequestHandler = async (request, response) => {
    response.set("Cache-Control", "no-store");
    const { scope } = response.locals as { readonly scope: Scope<{ id: string }> };
    try {
      const { ticket } = request.query;
      const given = ticketOf(request.headers.authorization, typeof ticket === "string" ? ticket : undefined);
      const { id } = host.check(given, scope.user);
      if (id !== scope.params.id) throw new TicketRefused("the ticket is for another run");
      const record = await host.broker.find(id);
      if (record === undefined) throw new UnknownTask(id);
      response.json(statusOf(record));
    } catch (error) {
      const { code, message, closeCode } = verdictOf(error);
      response.status(httpStatusOf(closeCode)).json({ error: { code, message } });
    }
  };
  return [
    route(path, TaskWatcher, { options: host }) as RouteEntry,
    sse(`${path}/:id/events`, TaskStream, { options: host }) as RouteEntry,
    http(`${path}/:id`, status, { methods: ["GET"] }),
  ];
}

/** @throws TicketRefused if there is none */
function ticketOf(authorization: string | undefined, query: string | null | undefined): string {
  const [, bearer] = /^Bearer (\S+)$/i.exec(authorization ?? "") ?? [];
  const ticket = bearer ?? query;
  if (ticket) return ticket;
  throw new TicketRefused("show a ticket: as Authorization: Bearer, or as ?ticket= in the URL");
}

function textIn(payload: unknown, field: string, event: string): string {
  const value = (payload as Readonly<Record<string, unknown>> | null | undefined)?.[field];
  if (typeof value === "string") return value;
  throw new InvalidMessage(`${event} takes { ${field} }`);
}

/** Of the same step: a waiting run that was promoted, say. */
function changed(before: TaskStatus, after: TaskStatus): boolean {
  return !isOlder(after, before) && before.state !== after.state;
}
