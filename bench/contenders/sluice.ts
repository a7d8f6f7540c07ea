/** Sluice: a consumer that joins one group, and `layer.groupEmit`. All options are the defaults. */
import { Consumer, createApplication, route } from "sluice";
import { createServer } from "sluice/server";
import { EVENT, NAMESPACE, PAYLOAD } from "../protocol.ts";
import { contend } from "./contender.ts";

const GROUP = "all";

class Listener extends Consumer {
  override async connect() {
    await this.groupAdd(GROUP);
  }
}

const app = createApplication({ routes: [route(NAMESPACE, Listener)] });
const server = createServer(app, { port: 0 });

contend({
  start: () => server.listen(),
  publish: () => app.layer.groupEmit(GROUP, EVENT, PAYLOAD),
});
