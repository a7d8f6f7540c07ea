/** The composition root of the demo: `sluice start` calls it, listens, and ends it. */
import { createApplication } from "sluice";
import type { ComposeContext } from "sluice/cli";
import { parsePublishingKeys, publishing } from "sluice/publishing";
import { createServer, type Server } from "sluice/server";
import { groups } from "./groups.ts";
import { guestInfo } from "./guests.ts";
import { pages } from "./pages.ts";
import { chatRoutes } from "./routes.ts";

const { PUBLISH_KEYS, REDIS_URL } = process.env;

export function compose(context: ComposeContext): Server {
  const { backplane, history, presence, secret, processes, serverOptions } = context;
  // Several processes share these in Redis only; without it the rooms remember nothing and know nobody.
  const canKeep = processes === 1 || REDIS_URL;
  const app = createApplication({
    routes: chatRoutes(),
    backplane,
    userInfo: guestInfo,
    ...(canKeep && { groups, history, presence, secret }),
  });
  const server = createServer(app, serverOptions);
  if (PUBLISH_KEYS) {
    const keys = parsePublishingKeys(PUBLISH_KEYS);
    server.express.use("/api", publishing({ layer: app.layer, signals: app.signals, keys }));
  }
  server.express.use(pages());
  return server;
}
