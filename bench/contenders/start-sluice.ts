/** The smallest program on Sluice: it listens, says what that has cost, and ends. */
import { Consumer, createApplication, route } from "sluice";
import { createServer } from "sluice/server";
import { tellStart } from "./tell-start.ts";

class Chat extends Consumer {}

const app = createApplication({ routes: [route("/chat/:room", Chat)] });
await createServer(app, { port: 0 }).listen();
tellStart();
