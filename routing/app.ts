/** The composition root of the demo: `sluice start` calls it, listens, and ends it. */
import { createApplication } from "sluice";
import type { ComposeContext } from "sluice/cli";
import { parsePublishingKeys, publishing } from "sluice/publishing";
import { createServer, type Server } from "sluice/server";
import { pages } from "./pages.ts";
import { chatRoutes } from "./routes.ts";

const { PUBLISH_KEYS } = process.env;

export function compose({ backplane, serverOptions }: ComposeContext): Server {
  const app = createApplication({ routes: chatRoutes(), backplane });
  const server = createServer(app, serverOptions);
  if (PUBLISH_KEYS) {
    const keys = parsePublishingKeys(PUBLISH_KEYS);
    server.express.use("/api", publishing({ layer: app.layer, signals: app.signals, keys }));
  }
  server.express.use(pages());
  return server;
}
