/** Whether the process lives, and whether a balancer should send it clients, answered before anything else sees the request. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Application, ApplicationPart } from "../application.ts";
import type { ServerSettings } from "../options.ts";
import { clientAddress } from "./scope.ts";

/** A server's life, in this order; `leaving` is the part of draining in which no new client is taken. */
export type Phase = "starting" | "serving" | "draining" | "leaving" | "stopped";

interface Answer {
  readonly code: number;
  readonly status: string;
  readonly causes?: readonly string[];
}

/** What Kubernetes' own parts call it; answered beside `livePath`. */
const USUAL_LIVE_PATH = "/healthz";

/** Also of what parts of the application answer before anything else, metrics for example. */
export class Health {
  readonly #app: Application;
  readonly #phase: () => Phase;
  readonly #answers: ReadonlyMap<string, () => Answer>;
  readonly #trustedProxies: number;
  readonly #parts: readonly ApplicationPart[];

  constructor(
    app: Application,
    {
      livePath,
      readyPath,
      trustedProxies,
    }: Pick<ServerSettings, "livePath" | "readyPath" | "trustedProxies">,
    phase: () => Phase,
  ) {
    this.#app = app;
    this.#phase = phase;
    this.#trustedProxies = trustedProxies;
    this.#parts = app.parts.filter((part) => part.answer !== undefined);
    const isAlive = () => OK;
    const answers = new Map([
      ...(livePath === "" ? [] : ([[USUAL_LIVE_PATH, isAlive]] as const)),
      [livePath, isAlive],
      [readyPath, () => this.#readiness()],
    ]);
    answers.delete("");
    this.#answers = answers;
  }

  /** Answers a request that asks for it, and says whether it did. */
  answer(request: IncomingMessage, response: ServerResponse): boolean {
    const [path = ""] = (request.url ?? "").split("?", 1);
    const answer = this.#answers.get(path);
    if (answer === undefined) return this.#parts.length > 0 && this.#doesPartAnswer(request, response);
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

  #doesPartAnswer(request: IncomingMessage, response: ServerResponse): boolean {
    const trustedProxies = this.#trustedProxies;
    const client = {
      trustedProxies,
      get remoteAddress() {
        return clientAddress(request, trustedProxies);
      },
    };
    return this.#parts.some((part) => part.answer?.(request, response, client));
  }

  #readiness(): Answer {
    const phase = this.#phase();
    if (phase === "starting" || phase === "stopped") {
      return { code: 503, status: phase, causes: [phase === "starting" ? "not begun yet" : "has ended"] };
    }
    // With 404 HAProxy (`disable-on-404`) sends no newcomers, but still those who are bound to this node.
    if (phase !== "serving") return { code: 404, status: "draining", causes: ["told to stop"] };
    const { causes } = this.#app;
    // Ready all the same, or a balancer would drop every node at once.
    return causes.length > 0 ? { code: 200, status: "degraded", causes } : OK;
  }
}

const OK: Answer = { code: 200, status: "ok" };
const NOT_ALLOWED: Answer = { code: 405, status: "error", causes: ["ask with GET or HEAD"] };
