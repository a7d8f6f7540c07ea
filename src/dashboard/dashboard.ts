/** The dashboard as a part of an application: it reports on every node, and shows where somebody may look. */
import {
  type ApplicationPart,
  LayerUnavailable,
  type Middleware,
  type PartContext,
  type RouteEntry,
  route,
} from "../index.ts";
import { DashboardConsumer } from "./dashboard-consumer.ts";
import { Hub } from "./hub.ts";
import { type CheckedOptions, checkedOptions, type DashboardOptions } from "./options.ts";
import { pageRoutes } from "./pages.ts";
import { Reporter } from "./reporter.ts";
import { SentCounts } from "./sent-counts.ts";

class Dashboard implements ApplicationPart {
  readonly routes: readonly RouteEntry[];
  readonly #options: CheckedOptions;
  #hub: Hub | undefined;
  #reporter: Reporter | undefined;
  #sent: SentCounts | undefined;

  constructor(options: DashboardOptions) {
    this.#options = checkedOptions(options);
    this.routes = this.#isOn ? this.#ownRoutes() : [];
  }

  async open(context: PartContext): Promise<void> {
    const { reportMs, version } = this.#options;
    const sent = new SentCounts(context.signals);
    this.#sent = sent;
    if (this.#isOn) {
      const hub = new Hub(context, sent, this.#options);
      this.#hub = hub;
      await hub.open();
    }
    this.#reporter = new Reporter(context, sent, { everyMs: reportMs, version });
    this.#reporter.say();
  }

  async close(): Promise<void> {
    this.#reporter?.stop();
    this.#reporter = undefined;
    this.#hub?.close();
    this.#sent?.stop();
  }

  get #isOn(): boolean {
    return this.#options.password !== undefined || this.#options.allow !== undefined;
  }

  #ownRoutes(): readonly RouteEntry[] {
    const { path, socketPath } = this.#options;
    const part = this;
    const host = {
      get hub(): Hub {
        if (part.#hub !== undefined) return part.#hub;
        throw new LayerUnavailable("the application has not begun yet");
      },
    };
    const guard: Middleware = (scope, next) => host.hub.guard.middleware(scope, next);
    const namespace = route(path, DashboardConsumer, { options: host, middleware: [guard] });
    return [...pageRoutes(path, socketPath, host), namespace as RouteEntry];
  }
}

/**
 * A page that shows all nodes, their connections, groups, tasks and signals as they are now, and lets whoever
 * may see it steer them. Without a password and without `allow` there is no page; nodes report all the same, for
 * {@link observe}.
 *
 * @throws ConfigurationError that lists every fault
 * @example
 * const tasks = new Tasks({ ... });
 * createApplication({ routes, parts: [tasks, dashboard({ password: process.env.DASHBOARD_PASSWORD, tasks })] });
 */
export function dashboard(options: DashboardOptions = {}): ApplicationPart {
  return new Dashboard(options);
}
