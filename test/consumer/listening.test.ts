import { afterEach, describe, expect, test } from "@jest/globals";
import { type Application, Consumer, createApplication, MemoryBackplane, route, Signal } from "sluice";
import { TestClient, untilIdle } from "sluice/testing";
import { troubles } from "../layer/troubles.ts";

const apps: Application[] = [];
const orderPaid = new Signal<{ readonly orderId: string }>("order.paid");

class Shop extends Consumer {
  #stop: (() => void) | undefined;

  override connect() {
    this.listen(this.signals.layerDown, ({ reason }) => this.send("alone", reason));
    this.listen(this.signals.layerUp, () => this.send("together"));
    this.#stop = this.listen(orderPaid, async ({ orderId }) => {
      if (orderId === "bad") throw new Error("no such order");
      this.send("paid", orderId);
    });
  }
  override receive(event: string) {
    if (event === "stop") this.#stop?.();
    return true;
  }
}

async function shop(backplane = new MemoryBackplane()) {
  const app = createApplication({ routes: [route("/shop", Shop)], backplane });
  apps.push(app);
  const client = new TestClient(app, "/shop");
  await client.connect();
  return { app, client };
}

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
});

describe("a consumer that listens", () => {
  test("hears that other nodes cannot be reached, and that they can again", async () => {
    const backplane = new MemoryBackplane();
    const carrier = troubles(backplane);
    const { client } = await shop(backplane);
    carrier.down("no carrier");
    expect(await client.next("alone")).toBe("no carrier");
    carrier.up();
    expect(await client.next("together")).toBeUndefined();
  });

  test("hears signals of the application's own, in order, until it ends that or its connection ends", async () => {
    const { app, client } = await shop();
    for (const orderId of ["1", "2"]) orderPaid.announce({ orderId });
    expect([await client.next("paid"), await client.next("paid")]).toEqual(["1", "2"]);
    await client.emit("stop");
    orderPaid.announce({ orderId: "3" });
    await client.expectSilence("paid");
    expect(orderPaid.hasReceivers).toBe(false);

    const second = new TestClient(app, "/shop");
    await second.connect();
    expect(orderPaid.hasReceivers).toBe(true);
    await second.disconnect();
    expect([orderPaid.hasReceivers, app.signals.layerDown.hasReceivers]).toEqual([false, true]);
    await client.disconnect();
    expect(app.signals.layerDown.hasReceivers).toBe(false);
  });

  test("ends like by any handler's fault when its receiver throws", async () => {
    const { app, client } = await shop();
    const failed: unknown[] = [];
    app.signals.failed.connect(({ error }) => failed.push((error as Error).message));
    orderPaid.announce({ orderId: "bad" });
    await expect(client).toBeClosedWith(4500, "internal error");
    await untilIdle(app);
    expect(failed).toEqual(["no such order"]);
  });
});
