import { expect, test } from "@jest/globals";
import { Consumer, sse } from "sluice";
import { serve, until } from "../server/live-server.ts";
import { describeWithChromium } from "./chromium.ts";

const PAGE = `<!doctype html><link rel="icon" href="data:,"><script>
window.seen = [];
new EventSource("/room").addEventListener("said", ({ data }) => seen.push(JSON.parse(data)));
</script>`;

class Room extends Consumer {
  override async connect() {
    await this.groupAdd("chat.den");
  }
}

describeWithChromium("an event stream", (browser) => {
  test("a browser's EventSource that comes back by itself has nothing lost and nothing twice", async () => {
    const { app, server, url } = await serve({
      routes: [sse("/room", Room)],
      groups: { "chat.*": { history: { size: 10, ttlMs: 60_000 } } },
    });
    server.express.get("/page", (_request, response) => void response.type("html").send(PAGE));
    const page = await browser().newPage();
    await page.goto(`${url}/page`);
    const say = (n: number) => app.layer.groupEmit("chat.den", "said", n);
    const sees = (n: number) => page.waitForFunction(`seen.includes(${n})`);
    const isHere = () => app.sizes.connections === 1;
    await until(isHere, "it is here");
    await say(1);
    await sees(1);
    for (const n of [2, 5]) {
      const [channel = ""] = app.layer.groupMembers("chat.den");
      await app.layer.closeChannel(channel, 4503, "come back later");
      await until(() => !isHere(), "it is gone");
      await say(n);
      await say(n + 1);
      await until(isHere, "it is back");
      await say(n + 2);
      await sees(n + 2);
    }
    expect(await page.evaluate("seen")).toEqual([1, 2, 3, 4, 5, 6, 7]);
    await page.close();
  });
});
