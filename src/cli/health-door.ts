import { createServer } from "node:http";
import type { Application } from "../application.ts";
import { serverDefaults } from "../options.ts";
import { Health, type Phase } from "../server/health.ts";
import { bind, describe, type Listening } from "../server/listening.ts";

/** For whoever looks after a process that serves nobody: `/livez`, `/readyz` and metrics, as a server answers them. */
export class HealthDoor {
  phase: Phase = "starting";
  readonly #http;

  constructor(app: Application) {
    const health = new Health(app, serverDefaults, () => this.phase);
    this.#http = createServer((request, response) => {
      if (!health.answer(request, response)) response.writeHead(404).end();
    });
    // What runs here does not wait for who asks.
    this.#http.unref();
  }

  /** @throws ConfigurationError when the address cannot be listened on */
  async open(host: string, port: number): Promise<Listening> {
    await bind(this.#http, { host, port }, "HEALTH_PORT or --health-port");
    return describe(this.#http);
  }
}
