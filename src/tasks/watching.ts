/** Watching a run: whoever shows a ticket is told its state at once, then every newer one, to the end. */
import type { RequestHandler } from "express";
import {
  Consumer,
  type ConsumerTypes,
  http,
  statusOf as httpStatusOf,
  InvalidMessage,
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
import { isOver, statusOf, type TaskStatus } from "./status.ts";
import type { Ticket } from "./tickets.ts";
import { isNews, type WatchedRuns } from "./watched-runs.ts";

export interface WatchHost {
  readonly broker: Pick<TaskBroker, "find" | "follow">;
  readonly runs: WatchedRuns;
  /** @throws RateLimited, TicketRefused */
  check(ticket: unknown, scope: Pick<Scope, "user" | "remoteAddress">): Ticket;
}

interface Watching extends ConsumerTypes {
  params: { id?: string };
  options: WatchHost;
  receives: { watch: { ticket: string }; unwatch: { id: string } };
  sends: { task: TaskStatus };
}

interface Watched {
  status: TaskStatus | undefined;
  stop: () => void;
}

const MAX_WATCHED = 50;

/** Serves `/tasks`: the event `watch` with `{ ticket }` is answered with the run's state; `task` events follow. */
export class TaskWatcher extends Consumer<Watching> {
  readonly #watched = new Map<string, Watched>();

  override async receive(event: string, payload: unknown): Promise<TaskStatus | undefined> {
    if (event === "watch") return this.watch(textIn(payload, "ticket", event));
    if (event !== "unwatch") throw new NoHandler(`there are the events watch and unwatch, not "${event}"`);
    this.#forget(textIn(payload, "id", event));
    return undefined;
  }

  async watch(ticket: unknown): Promise<TaskStatus> {
    const { id } = this.options.check(ticket, this.scope);
    return this.watchRun(id);
  }

  /** Of whose right to watch it nobody doubts any more. */
  protected async watchRun(id: string): Promise<TaskStatus> {
    const known = this.#watched.get(id)?.status;
    if (known !== undefined) return known;
    if (this.#watched.size >= MAX_WATCHED) {
      throw new RateLimited(`a connection watches up to ${MAX_WATCHED} runs; stop watching one (unwatch)`);
    }
    const watched: Watched = { status: undefined, stop: () => {} };
    this.#watched.set(id, watched);
    try {
      const stop = await this.options.runs.watch(id, (status) => this.#tell(watched, status));
      // It may be over already, or the client gone.
      if (this.#watched.get(id) === watched) watched.stop = stop;
      else stop();
    } catch (error) {
      this.#forget(id);
      throw error;
    }
    if (watched.status === undefined) throw new UnknownTask(id);
    return watched.status;
  }

  override async disconnect(): Promise<void> {
    for (const id of [...this.#watched.keys()]) this.#forget(id);
  }

  /** A run that was watched is over, and its watcher told. */
  protected ended(): void {}

  #tell(watched: Watched, status: TaskStatus): void {
    const { id } = status;
    if (this.#watched.get(id) !== watched) return;
    if (watched.status !== undefined && !isNews(status, watched.status)) return;
    watched.status = status;
    this.send("task", status);
    if (!isOver(status)) return;
    this.#forget(id);
    this.ended();
  }

  #forget(id: string): void {
    this.#watched.get(id)?.stop();
    this.#watched.delete(id);
  }
}

/** One run, for `curl` and `EventSource`: `GET /tasks/<id>/events?ticket=...`; the stream ends with the run. */
export class TaskStream extends TaskWatcher {
  override async connect(): Promise<void> {
    const ticket = ticketOf(this.scope.headers.authorization, this.scope.query.get("ticket"));
    const { id } = this.options.check(ticket, this.scope);
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
      const { id } = host.check(given, scope);
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
