import { createApplication } from "sluice";
import type { Compose } from "sluice/cli";
import { createServer } from "sluice/server";
import { groups, routes } from "./routes.ts";

/** Puts the application together; the command line calls it, listens, and ends it well. */
export const compose: Compose = ({ backplane, history, secret, serverOptions }) => {
  const app = createApplication({ routes, groups, backplane, history, secret });
  const server = createServer(app, serverOptions);
  server.express.get("/", (_request, response) => {
    response.sendFile("public/index.html", { root: import.meta.dirname });
  });
  return server;
};
