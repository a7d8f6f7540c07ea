import { expect, test } from "@jest/globals";
import { Consumer, route } from "sluice";
import { connected, serve, until } from "./live-server.ts";

/** Sends in every way there is, one after the other, and notes the order. */
class Chatty extends Consumer {
  static override readonly groups = ["room"];
  override async receive(_event: string, count: unknown) {
    for (let n = 0; n < (count as number); n += 4) {
      this.send("n", n);
      await this.groupEmit("room", "n", n + 1);
      await this.groupEmit("room", "n", { binary: Buffer.alloc(200_000), n: n + 2 });
      this.ask("n", n + 3).catch(() => {});
    }
    return "last";
  }
}

test.each([["websocket"], ["polling"]])(
  "what one client is sent by %s keeps its order, whatever way it goes",
  async (transport) => {
    const live = await serve({ routes: [route("/room", Chatty)], limits: { maxWaitingBytes: 100_000_000 } });
    const client = await connected(live.client("/room", { transports: [transport] }));
    const seen: number[] = [];
    client.on("n", (payload: number | { n: number }) => {
      seen.push(typeof payload === "number" ? payload : payload.n);
    });
    expect(await client.emitWithAck("go", 80)).toBe("last");
    // The acknowledgement came last, so everything has come.
    expect(seen).toEqual(Array.from({ length: 80 }, (_, n) => n));
    await until(() => live.app.isIdle, "the server is done");
  },
);
