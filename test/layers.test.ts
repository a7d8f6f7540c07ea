import { afterEach, expect, test } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  Consumer,
  createApplication,
  MemoryBackplane,
  MemoryHub,
  route,
} from "sluice";
import { TestClient, TestCluster } from "sluice/testing";
import { troubles } from "./layer/troubles.ts";
import { KEYS } from "./some-keys.ts";

class Main extends Consumer {
  static override readonly groups = ["room"];
  roomSaid(): void {
    this.send("said", this.constructor.name);
  }
  override async receive(_event: string, layer: string): Promise<void> {
    await this.groupEmit("room", "heard", layer);
  }
}
class Archive extends Main {
  static override readonly layer = "archive";
}

const routes = [route("/main", Main), route("/archive", Archive)];
const apps: Application[] = [];
afterEach(async () => {
  for (const app of apps.splice(0)) {
    await app.stop();
    expect(app).toBeEmpty();
  }
});

function application(options: Partial<ApplicationOptions> = {}): Application {
  const app = createApplication({ routes, layers: { archive: {} }, ...options });
  apps.push(app);
  return app;
}

async function connected(app: Application, namespace: string): Promise<TestClient> {
  const client = new TestClient(app, namespace);
  await expect(client).toBeAccepted();
  return client;
}

test("groups of one name on two layers do not hear each other", async () => {
  const app = application();
  const [main, archive] = [await connected(app, "/main"), await connected(app, "/archive")];
  await main.emit("say", "on main");
  expect(await main.next("heard")).toBe("on main");
  await archive.expectSilence();
  await app.layers.get("archive")?.groupSend("room", { type: "room.said" });
  expect(await archive.next("said")).toBe("Archive");
  await main.expectSilence();
  expect(app.layers.get("default")).toBe(app.layer);
  expect(app.sizes).toMatchObject({ connections: 2, groups: 2, channels: 2 });
});

test("each layer has a backplane and policies of its own", async () => {
  const cluster = await TestCluster.start({
    routes,
    layers: { archive: { groups: { room: { presence: true } } } },
    userId: () => "ann",
  });
  const [here, there] = [cluster.node(1).app, cluster.node(2).app];
  const [main, archive] = [await connected(here, "/main"), await connected(there, "/archive")];
  await here.layers.get("archive")?.groupSend("room", { type: "room.said" });
  expect(await archive.next("said")).toBe("Archive");
  await main.expectSilence();
  expect(await there.layers.get("archive")?.presenceCount("room")).toBe(1);
  await expect(there.layer.presenceCount("room")).rejects.toThrow(/presence/);
  await cluster.stop();
});

test("a layer that is down is told by its name, and makes the node degraded", async () => {
  const backplane = new MemoryBackplane();
  const carrier = troubles(backplane);
  const app = application({ layers: { archive: { backplane } } });
  const told: unknown[] = [];
  app.signals.layerDown.connect((fact) => told.push(fact));
  app.signals.layerUp.connect(({ layer }) => told.push(layer));
  await app.start();
  carrier.down("cut");
  expect(told).toEqual([{ layer: "archive", reason: "cut" }]);
  expect([app.isDegraded, app.layer.isDegraded]).toEqual([true, false]);
  carrier.up();
  expect([told.at(-1), app.isDegraded]).toEqual(["archive", false]);
});

test.each([
  [{ layers: {} }, /Archive.layer is "archive", which is no layer of the application/],
  [{ layers: { archives: {} } }, /did you mean "archives"\?/],
  [{ layers: { archive: {}, default: {} } }, /layers.default: the options beside `layers`/],
  [{ layers: { archive: { groups: { "x y": {} } } } }, /x y/],
])("%j is refused at the start", (options, words) => {
  expect(() => createApplication({ routes, ...options } as never)).toThrow(words);
});

test("what is encrypted for one layer must not open in another, wherever their carriers are", () => {
  class Prefixed extends MemoryBackplane {
    readonly prefix: string;
    constructor(prefix: string) {
      super(new MemoryHub());
      this.prefix = prefix;
    }
  }
  const made = (prefix: string, encryptionKeys: readonly string[]) => () =>
    createApplication({
      routes,
      backplane: new Prefixed("shop"),
      layers: { archive: { backplane: new Prefixed(prefix) } },
      encryptionKeys,
    });
  expect(made("shop", [KEYS[0]])).toThrow(/"archive" and "default" .* prefix "shop".*different prefixes/);
  made("shop", [])();
  made("shop-archive", [KEYS[0]])();
});

test("two layers cannot stand on the same backplane", () => {
  const backplane = new MemoryBackplane();
  expect(() => createApplication({ routes, backplane, layers: { archive: { backplane } } })).toThrow(
    /the layers "archive" and "default" have the same backplane/,
  );
});
