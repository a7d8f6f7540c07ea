/** The composition root of the demo: `sluice start` calls it, and listens and ends. */
import { createApplication } from "sluice";
import type { ComposeContext } from "sluice/cli";
import { createServer, type Server } from "sluice/server";
import { pages } from "./pages.ts";
import { chatRoutes } from "./routes.ts";

export function compose({ backplane, serverOptions }: ComposeContext): Server {
  const app = createApplication({ routes: chatRoutes(), backplane });
  const server = createServer(app, serverOptions);
  server.express.use(pages());
  return server;
}
