/** The composition root of the demo: `sluice start` calls it, listens, and ends it; so does `sluice work`. */
import { createApplication } from "sluice";
import type { ComposeContext } from "sluice/cli";
import { dashboard } from "sluice/dashboard";
import { parsePublishingKeys, publishing } from "sluice/publishing";
import { createServer, type Server } from "sluice/server";
import { Tasks } from "sluice/tasks";
import { Diary } from "../consumers/diary.ts";
import { exportFiles } from "./exports.ts";
import { groups } from "./groups.ts";
import { guestInfo } from "./guests.ts";
import { pages } from "./pages.ts";
import { chatRoutes } from "./routes.ts";
import { work } from "./tasks.ts";

const { PUBLISH_KEYS, REDIS_URL } = process.env;

export function compose(context: ComposeContext): Server {
  const { backplane, history, presence, sharedLimits, secret, encryptionKeys } = context;
  const { metrics, processes, serverOptions } = context;
  // Several processes share these in Redis only; without it the rooms remember nothing and know nobody.
  const canKeep = processes === 1 || REDIS_URL;
  const tasks = new Tasks({ ...context.tasks, ...work });
  const diary = new Diary();
  const app = createApplication({
    backplane,
    sharedLimits,
    encryptionKeys,
    userInfo: guestInfo,
    ...(canKeep
      ? {
          routes: chatRoutes({ diary }),
          groups,
          history,
          presence,
          secret,
          parts: [...metrics, tasks, diary, dashboard({ ...context.dashboard, tasks })],
        }
      : { routes: chatRoutes(), parts: [...metrics, dashboard(context.dashboard)] }),
  });
  const server = createServer(app, serverOptions);
  if (PUBLISH_KEYS) {
    const keys = parsePublishingKeys(PUBLISH_KEYS);
    server.express.use("/api", publishing({ layer: app.layer, signals: app.signals, keys }));
  }
  server.express.use(pages());
  if (canKeep) server.express.use(exportFiles({ tasks, layer: app.layer }));
  return server;
}
