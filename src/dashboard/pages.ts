/** The page, its files, and the way in and out. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import express, { type Request, type RequestHandler, type Response } from "express";
import { http, type RouteEntry, type Scope } from "../index.ts";
import type { Guard } from "./guard.ts";
import type { Hub } from "./hub.ts";

const folder = fileURLToPath(new URL("./page/", import.meta.url));

/** Everything that is served, by its name: nothing else in the folder can be asked for. */
const FILES: ReadonlyMap<string, string> = new Map([
  ...[
    ...["style.css", "login.css", "icon.svg", "login.js", "app.js", "dom.js", "charts.js", "format.js"],
    ...["socket.js", "overview.js", "nodes.js", "routes.js", "groups.js", "connections.js", "tasks.js"],
    ...["jobs.js", "tail.js", "dialogs.js", "base.js", "causes.js", "connection-table.js"],
    ...["group-sums.js", "group-detail.js"],
  ].map((name) => [name, join(folder, name)] as const),
  ...["uPlot.esm.js", "uPlot.min.css"].map((name) => [name, join(uplotFolder(), name)] as const),
]);

const MAX_BODY = 4_096;
const readBody = express.json({ limit: MAX_BODY });

/** Where the application's tables are looked up: it is not there before the application has begun. */
export interface PageHost {
  readonly hub: Hub;
}

/** @param path - of the page */
export function pageRoutes(path: string, socketPath: string, host: PageHost): readonly RouteEntry[] {
  const answer = (
    handle: (guard: Guard, request: Request, response: Response, scope: Scope) => Promise<void>,
  ) => {
    const handler: RequestHandler = async (request, response) => {
      response.set(HEADERS);
      const { scope } = response.locals as { readonly scope: Scope };
      await handle(host.hub.guard, request, response, scope);
    };
    return handler;
  };

  const page = answer(async (guard, request, response, scope) => {
    response.set("Content-Security-Policy", contentSecurityPolicy(request.headers.host));
    const show = async (name: string, status: number) => {
      const html = await readFile(join(folder, name), "utf8");
      const here = path.slice(path.lastIndexOf("/") + 1);
      response
        .status(status)
        .type("html")
        .send(filled(html, { here, path, socket: socketPath }));
    };
    if ((await guard.allowed(scope)) === undefined) return show("refused.html", 403);
    if ((await guard.visitorOf(scope)) !== undefined) return show("app.html", 200);
    if (guard.hasPassword) return show("login.html", 200);
    guard.setCookie(request, response, guard.begin().cookie);
    return show("app.html", 200);
  });

  /** Who one is here, and the token of one's page; other origins cannot read it. */
  const session = answer(async (guard, _request, response, scope) => {
    const visitor = guard.isOwn(scope) ? await guard.visitorOf(scope) : undefined;
    // Nobody is no error: the login asks, too.
    if (visitor === undefined) return void response.status(204).end();
    const { who, session } = visitor;
    response.json({
      who,
      endsAt: session.endsAt,
      token: guard.tokenOf(session),
      hasPassword: guard.hasPassword,
    });
  });

  const login = answer(async (guard, request, response, scope) => {
    // A form of another site can send neither this type nor this origin.
    if (!guard.isOwn(scope) || request.is("application/json") !== "application/json") {
      return refuse(response, 403, "forbidden", "log in from the dashboard's own page");
    }
    const who = await guard.allowed(scope);
    if (who === undefined) return refuse(response, 403, "forbidden", "you may not see this dashboard");
    const fault = await new Promise<unknown>((resolve) => readBody(request, response, resolve));
    if (fault !== undefined) {
      const isTooLarge = (fault as { readonly status?: unknown }).status === 413;
      return refuse(
        response,
        isTooLarge ? 413 : 400,
        "bad_request",
        "the password comes as JSON, { password }",
      );
    }
    const { password } = (request.body ?? {}) as { readonly password?: unknown };
    const outcome = guard.login(scope, who, password);
    switch (outcome.kind) {
      case "in":
        guard.setCookie(request, response, outcome.cookie);
        return void response.status(204).end();
      case "wait": {
        const seconds = Math.ceil(outcome.waitMs / 1_000);
        response.set("Retry-After", String(seconds));
        return refuse(response, 429, "rate_limited", `too many tries; try again in ${seconds} s`);
      }
      case "wrong":
        return refuse(response, 401, "unauthenticated", "this is not the password");
    }
  });

  const logout = answer(async (guard, request, response, scope) => {
    const visitor = guard.isOwn(scope) ? await guard.visitorOf(scope) : undefined;
    if (visitor === undefined || !guard.isToken(visitor.session, request.headers["dashboard-token"])) {
      return refuse(response, 403, "forbidden", "load the page again");
    }
    guard.clearCookie(request, response);
    await host.hub.logout(visitor, scope);
    response.status(204).end();
  });

  const file: RequestHandler = (_request, response, next) => {
    const { scope } = response.locals as { readonly scope: Scope<{ file: string }> };
    const found = FILES.get(scope.params.file);
    if (found === undefined) return next();
    response.set({ ...HEADERS, "Cache-Control": "no-cache" });
    response.sendFile(found, { cacheControl: false }, (error) => {
      if (error && !response.headersSent) next(error);
    });
  };

  return [
    http(path, page, { methods: ["GET"] }),
    http(`${path}/session`, session, { methods: ["GET"] }),
    http(`${path}/login`, login, { methods: ["POST"] }),
    http(`${path}/logout`, logout, { methods: ["POST"] }),
    http(`${path}/files/:file`, file, { methods: ["GET"] }),
  ];
}

const HEADERS = {
  "Cache-Control": "no-store",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

/** All from this server and nothing inline: no name, however it is written, can become a script. */
function contentSecurityPolicy(host: string | undefined): string {
  // Not every browser means WebSockets, too, when it reads 'self'.
  const sockets = /^[A-Za-z0-9.[\]:-]+$/.test(host ?? "") ? ` ws://${host} wss://${host}` : "";
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src 'self'${sockets}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join("; ");
}

/** What is filled in is of the options, which take nothing that means something in HTML. */
function filled(html: string, words: Readonly<Record<string, string>>): string {
  return html.replace(/\{\{(\w+)\}\}/g, (_, name: string) => words[name] ?? "");
}

function refuse(response: Response, status: number, code: string, message: string): void {
  response.status(status).json({ error: { code, message } });
}

function uplotFolder(): string {
  return dirname(createRequire(import.meta.url).resolve("uplot"));
}
