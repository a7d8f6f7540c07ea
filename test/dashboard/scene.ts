/** Real servers with a dashboard, and what somebody at it can do: log in, connect, ask, act. */
import {
  type ApplicationOptions,
  type AuditFact,
  Consumer,
  type LayerOptions,
  MemoryBackplane,
  type MemoryHub,
  MemoryPresence,
  MemoryPresenceHub,
  type Middleware,
  route,
} from "sluice";
import { type DashboardOptions, dashboard } from "sluice/dashboard";
import type { ServerOptions } from "sluice/server";
import type { ManagerOptions, Socket, SocketOptions } from "socket.io-client";
import type { PicturePieces } from "../../src/dashboard/hub.ts";
import { type ClusterPoint, pointOf } from "../../src/dashboard/timeline.ts";
import { connected, type Live, serve, until } from "../server/live-server.ts";

export const PASSWORD = "open, sesame!";

export class Room extends Consumer<{ params: { room: string }; user: string }> {
  override async connect() {
    await this.groupAdd(`room.${this.scope.params.room}`);
  }
  override async receive(event: string, payload: unknown) {
    if (event === "break") throw new Error(String(payload));
    await this.groupEmit(`room.${this.scope.params.room}`, "said", payload);
    return "ok";
  }
}

/** Knows a client by what it says of itself; good enough for a test. */
export const identify: Middleware = (scope, next) => next({ user: scope.auth.user });

export interface SceneOptions extends DashboardOptions {
  readonly app?: Partial<ApplicationOptions>;
  readonly layer?: LayerOptions;
  readonly hub?: MemoryHub;
  readonly server?: ServerOptions;
}

export interface Watched extends Live {
  readonly audits: readonly AuditFact[];
}

/** A node; reports so often that a test need not wait. */
export async function node({ app = {}, hub, server, ...options }: SceneOptions = {}): Promise<Watched> {
  const audits: AuditFact[] = [];
  const live = await serve(
    {
      routes: [route("/room/:room", Room, { middleware: [identify] })] as never,
      groups: { "room.*": { presence: true } },
      ...(hub === undefined ? {} : shared(hub)),
      ...app,
      parts: [...(app.parts ?? []), dashboard({ password: PASSWORD, reportMs: 50, ...options })],
    },
    server,
  );
  live.app.signals.audited.connect((fact) => void audits.push(fact));
  return Object.assign(live, { audits });
}

/** Of each hub; nodes that share one share presence, too. */
const presences = new WeakMap<MemoryHub, MemoryPresenceHub>();

function shared(hub: MemoryHub): Pick<ApplicationOptions, "backplane" | "presence"> {
  const presence = presences.get(hub) ?? new MemoryPresenceHub();
  presences.set(hub, presence);
  return { backplane: new MemoryBackplane(hub), presence: new MemoryPresence(presence) };
}

export function enter(live: Live, room: string, user: string): Promise<Socket> {
  return connected(live.client(`/room/${room}`, { auth: { user } }));
}

export interface Login {
  readonly status: number;
  /** As a browser would send it back. */
  readonly cookie: string;
  readonly response: Response;
}

/** What a page of this server sends; `headers` replace it. */
export async function login(
  { url }: Pick<Live, "url">,
  password: unknown = PASSWORD,
  headers: Readonly<Record<string, string>> = {},
): Promise<Login> {
  const response = await fetch(`${url}/dashboard/login`, {
    method: "POST",
    headers: { "content-type": "application/json", origin: url, "sec-fetch-site": "same-origin", ...headers },
    body: typeof password === "string" && password.startsWith("{") ? password : JSON.stringify({ password }),
  });
  const [cookie = ""] = response.headers.getSetCookie().map((line) => line.split(";")[0] ?? "");
  return { status: response.status, cookie, response };
}

export async function tokenOf({ url }: Pick<Live, "url">, cookie: string): Promise<string> {
  const response = await fetch(`${url}/dashboard/session`, { headers: { cookie } });
  return ((await response.json()) as { token: string }).token;
}

/** A connection as the page makes it; `options` replace what it shows. */
export function open(
  live: Live,
  auth: Readonly<Record<string, unknown>>,
  options: Partial<ManagerOptions & SocketOptions> = {},
): Socket {
  return live.client("/dashboard", { auth, ...options });
}

export interface Hello {
  readonly who: string;
  readonly hasTasks: boolean;
}

export type Cluster = Omit<PicturePieces[number], "part" | "isLast">;

/** Somebody who has logged in and sees the page. */
export class Operator {
  readonly live: Live;
  readonly cookie: string;
  readonly token: string;
  readonly socket: Socket;
  hello: Hello = { who: "", hasTasks: false };
  readonly points: ClusterPoint[] = [];
  /** The latest. */
  cluster: Cluster = {
    ...{ at: 0, nodes: [], groups: [], routes: [], causes: [] },
    point: pointOf({ at: 0, nodes: [], groups: [], routes: [] }),
  };
  #coming = this.cluster;

  private constructor(live: Live, cookie: string, token: string) {
    this.live = live;
    this.cookie = cookie;
    this.token = token;
    this.socket = open(live, { token }, { extraHeaders: { cookie } });
    this.socket.on("hello", (hello: Hello) => {
      this.hello = hello;
    });
    this.socket.on("points", ({ points }: { points: ClusterPoint[] }) => void this.points.push(...points));
    this.socket.on("cluster", (piece: PicturePieces[number]) => this.#take(piece));
  }

  #take({ part, isLast, ...piece }: PicturePieces[number]): void {
    const before = this.#coming;
    const whole = {
      at: piece.at,
      point: piece.point,
      nodes: [...before.nodes, ...piece.nodes],
      groups: [...before.groups, ...piece.groups],
      routes: [...before.routes, ...piece.routes],
      causes: [...before.causes, ...piece.causes],
    };
    this.#coming = part === 0 ? piece : whole;
    if (isLast) this.cluster = this.#coming;
  }

  static async at(live: Live, given?: string): Promise<Operator> {
    const cookie = given ?? (await login(live)).cookie;
    const operator = new Operator(live, cookie, await tokenOf(live, cookie));
    await connected(operator.socket);
    await operator.sees(({ at }) => at > 0, "how the cluster stands");
    return operator;
  }

  ask(event: string, payload?: unknown): Promise<{ readonly error?: { code: string; message: string } }> {
    return this.socket.emitWithAck(event, payload);
  }

  act(action: string, target: unknown, more: object = {}) {
    return this.ask("act", { ...more, action, target });
  }

  /** Until the page shows that. */
  sees<T>(fact: (cluster: Cluster) => T, what: string): Promise<NonNullable<T>> {
    return until(() => fact(this.cluster), what);
  }
}

/** As `until`, for what has to be asked. */
export async function eventually(fact: () => Promise<boolean>, what: string): Promise<void> {
  const givenUpAt = performance.now() + 15_000;
  while (!(await fact())) {
    if (performance.now() > givenUpAt) throw new Error(`waited in vain: ${what}`);
    // Lists may be asked for ten times a second.
    await new Promise((resolve) => setTimeout(resolve, 120));
  }
}
