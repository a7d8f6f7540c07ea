/** What the pages' blocks take for granted. Those of pages that are run are real. */
import type { Surroundings } from "../guides.ts";

const common: Surroundings = {
  app: "const app = createApplication({ routes });",
  routes: "const routes: import('sluice').RouteEntry[] = [];",
  groups: "const groups: import('sluice').GroupPolicies = {};",
  server: "declare const server: import('sluice/server').Server;",
  backplane: "declare const backplane: import('sluice').Backplane;",
  history: "declare const history: import('sluice').HistoryStore;",
  url: "declare const url: string;",
  secret: "declare const secret: string;",
  socket: "declare const socket: import('socket.io-client').Socket;",
  express: "import express from 'express';",
  test: "import { test } from '@jest/globals';",
  show: "declare function show(what: unknown): void;",
  say: "declare function say(text: string): void;",
  GroupPolicies: "import type { GroupPolicies } from 'sluice';",
  ServerEvents: "import type { ServerEvents } from 'sluice';",
  ClientEvents: "import type { ClientEvents } from 'sluice';",
  EventTable: "import type { EventTable } from 'sluice';",
  MessageHandlers: "import type { MessageHandlers } from 'sluice';",
  Middleware: "import type { Middleware } from 'sluice';",
  z: "import { z } from 'zod';",
};

const Chat = "class Chat extends Consumer {}";
const ChatConsumer = "class ChatConsumer extends Consumer {}";

/** By page, what it has beside the common. */
export const surroundings: Readonly<Record<string, Surroundings>> = {
  "README.md": {},
  "docs/authentication.md": {
    User: "interface User { readonly id: string }",
    Session:
      "type Session<Values extends object = Record<string, unknown>> = import('sluice/middleware').Session<Values>;",
    sessions: "declare const sessions: import('sluice/middleware').Sessions<{ cart: string[] }>;",
    issuer: "declare const issuer: string;",
    audience: "declare const audience: string;",
    name: "declare const name: string;",
    password: "declare const password: string;",
    Chat,
    findByKey: "declare function findByKey(key: unknown): User | undefined;",
    tenantOf: "declare function tenantOf(user: User): Promise<string>;",
    isMember: "declare function isMember(user: User, group: string): boolean;",
    checkPassword: "declare function checkPassword(payload: unknown): Promise<User | undefined>;",
    freshToken: "declare function freshToken(): Promise<string>;",
  },
  "docs/bridges.md": {
    source: "declare const source: import('sluice/bridges').Source;",
    to: "const to = async (message: import('sluice/bridges').BridgedMessage<unknown>) => void message;",
  },
  "docs/client.md": {
    dirname: "import { dirname } from 'node:path';",
    fileURLToPath: "import { fileURLToPath } from 'node:url';",
    recovery: "const recovery = recover(socket);",
    oldest: "declare const oldest: number;",
    showAbove: "declare function showAbove(payload: unknown): void;",
  },
  "docs/command-line.md": {},
  "docs/consumers.md": {
    Chat: `interface Chat {
      params: { readonly room: string };
      receives: { say: { text: string } };
      sends: { said: { text: string } };
    }`,
    io: "import { io } from 'socket.io-client';",
    Socket: "import type { Socket } from 'socket.io-client';",
    PayloadCodec: "import type { PayloadCodec } from 'sluice';",
  },
  "docs/dashboard.md": {
    dashboard: "import { dashboard } from 'sluice/dashboard';",
    isAdmin: "declare function isAdmin(user: unknown): boolean;",
    nameOf: "declare function nameOf(user: unknown): string;",
    showBanner: "declare function showBanner(text: string): void;",
  },
  "docs/encryption.md": {},
  "docs/exams.md": {},
  "docs/from-django-channels.md": { io: "import { io } from 'socket.io-client';" },
  "docs/from-socket-io.md": { app: "" },
  "docs/groups.md": {
    channel: "const channel = 'n-1!nobody';",
    Chat,
  },
  "docs/history.md": {},
  "docs/http.md": {},
  "docs/limits.md": {},
  "docs/metrics.md": {},
  "docs/presence.md": {
    User: "interface User { readonly name: string }",
    logIn: "declare const logIn: import('sluice').Middleware;",
  },
  "docs/publishing.md": {},
  "docs/react.md": {},
  "docs/redis.md": {},
  "docs/routing.md": {
    logIn: "const logIn: Middleware = (_scope, next) => next({ user: { isAdmin: true } });",
    requireAdmin: "const requireAdmin: Middleware = (_scope, next) => next();",
    ChatConsumer,
    UserConsumer:
      "class UserConsumer extends Consumer<{ params: { id: number }, options: { verbose: boolean } }> {}",
    sendExport:
      "const sendExport: import('express').RequestHandler = (_request, response) => void response.send('all');",
    User: "interface User { readonly isAdmin: boolean }",
    findUser: "declare function findUser(sid: string | undefined): Promise<User | undefined>;",
    histogram: "const histogram = { record(_hook: string, _ms: number): void {} };",
  },
  "docs/running.md": {},
  "docs/server.md": {
    app: common.app as string,
    access: "import { stdout as access } from 'node:process';",
  },
  "docs/signals.md": {
    count: "const count = (_kind: string, _ms: number): void => {};",
    mail: "const mail = async (orderId: string) => orderId;",
    shop: "const shop = {};",
    orderPaid: "const orderPaid = new Signal<{ orderId: string }>('order.paid');",
    ChatConsumer,
  },
  "docs/tasks.md": {
    Any: "type Any<Result> = import('sluice/tasks').Task<any, Result>;",
    tasks:
      "declare const tasks: import('sluice/tasks').Tasks & { broker: import('sluice/tasks').MemoryBroker };",
    layer: "declare const layer: import('sluice').ChannelLayer;",
    buildReport:
      "declare const buildReport: import('sluice/tasks').Task<{ month: string }, { days: number }>;",
    sweep: "declare const sweep: import('sluice/tasks').Task<undefined, void>;",
    add: "declare const add: import('sluice/tasks').Task<{ x: number; y: number }, number>;",
    sendInvoice: "declare const sendInvoice: import('sluice/tasks').Task<{ orderId: string }, void>;",
    ...Object.fromEntries(
      ["fetchPage", "countWords", "store", "resize", "merge"].map((name) => [
        name,
        `declare const ${name}: Any<string>;`,
      ]),
    ),
    pages: "declare const pages: import('sluice/tasks').Step<string>[];",
    ticket: "declare const ticket: string;",
    bar: "declare const bar: { value: number; max: number };",
    shrink: "declare function shrink(url: string, options: { signal: AbortSignal }): Promise<void>;",
    expect: "import { expect } from '@jest/globals';",
  },
  "docs/testing.md": {},
  "docs/threads.md": {},
  "docs/tracing.md": {},
  "docs/tutorial.md": { app: "" },
};

/** By page, files that its blocks import. */
export const files: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "docs/consumers.md": {
    "node_modules/superjson/package.json": '{ "type": "module", "exports": "./index.js" }',
    "node_modules/superjson/index.d.ts":
      "declare const superjson: { serialize(value: unknown): unknown; deserialize(value: never): unknown }; export default superjson;",
  },
  "docs/running.md": {
    "groups.ts": "export const groups = {};",
    "routes.ts": "export const routes: import('sluice').RouteEntry[] = [];",
  },
  "docs/tasks.md": { "heavy.ts": "export const countPrimes = (to: number): number => to;" },
};

export function surroundingsOf(page: string): Surroundings {
  return { ...common, ...surroundings[page] };
}
