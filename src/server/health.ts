/** Whether the process lives, and whether a balancer should send it clients, answered before anything else sees the request. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Application } from "../application.ts";
import type { ServerSettings } from "../options.ts";

/** A server's life, in this order; `leaving` is the part of draining in which no new client is taken. */
export type Phase = "starting" | "serving" | "draining" | "leaving" | "stopped";

interface Answer {
  readonly code: number;
  readonly status: string;
  readonly reason?: string;
}

export class Health {
  readonly #app: Application;
  readonly #phase: () => Phase;
  readonly #answers: ReadonlyMap<string, () => Answer>;

  constructor(
    app: Application,
    { livePath, readyPath }: Pick<ServerSettings, "livePath" | "readyPath">,
    phase: () => Phase,
  ) {
    this.#app = app;
    this.#phase = phase;
    const answers = new Map([
      [livePath, () => OK],
      [readyPath, () => this.#readiness()],
    ]);
    answers.delete("");
    this.#answers = answers;
  }

  /** Answers a request that asks for it, and says whether it did. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    const [path = ""] = (request.url ?? "").split("?", 1);
    const answer = this.#answers.get(path);
    if (answer === undefined) return false;
    const isAsked = request.method === "GET" || request.method === "HEAD";
    const { code, ...report } = isAsked ? answer() : NOT_ALLOWED;
    const body = JSON.stringify({ ...report, node: this.#app.node });
    response.writeHead(code, {
      "Content-Type": "application/json; charset=utf-8",
      "Content-Length": Buffer.byteLength(body),
      "Cache-Control": "no-store",
      ...(isAsked ? {} : { Allow: "GET, HEAD" }),
    });
    response.end(request.method === "HEAD" ? undefined : body);
    return true;
  }

  #readiness(): Answer {
    const phase = this.#phase();
    if (phase === "starting" || phase === "stopped") return { code: 503, status: phase };
    // With 404 HAProxy (`disable-on-404`) sends no newcomers, but still those who are bound to this node.
    if (phase !== "serving") return { code: 404, status: "draining" };
    return this.#app.isDegraded ? DEGRADED : OK;
  }
}

const OK: Answer = { code: 200, status: "ok" };
/** Ready all the same, or a balancer would drop every node at once. */
const DEGRADED: Answer = { code: 200, status: "degraded", reason: "other nodes cannot be reached" };
const NOT_ALLOWED: Answer = { code: 405, status: "error", reason: "ask with GET or HEAD" };
