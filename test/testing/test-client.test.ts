import { afterEach, describe, expect, test } from "@jest/globals";
import { type Application, Consumer, createApplication, route } from "sluice";
import { TestClient } from "sluice/testing";

const apps: Application[] = [];

class Room extends Consumer {
  override async connect() {
    if (this.scope.auth.name === undefined) this.deny(4401, "who are you?");
    await this.groupAdd("room");
  }
  override async receive(event: string, payload: unknown) {
    if (event === "throw") throw new Error("the consumer's own mistake");
    if (event === "ask") return this.ask("question", payload);
    await this.groupEmit("room", event, payload);
    return this.scope.headers["x-test"] ?? null;
  }
}

function enter(options: ConstructorParameters<typeof TestClient>[2] = {}) {
  const app = createApplication({ routes: [route("/room", Room)] });
  apps.push(app);
  return new TestClient(app, "/room", { auth: { name: "Ann" }, ...options });
}

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
});

describe("the test client", () => {
  test("says whether it was accepted, or code and reason", async () => {
    expect(await enter().connect()).toEqual({ accepted: true });
    expect(await enter({ auth: {} }).connect()).toEqual({
      accepted: false,
      code: 4401,
      reason: "who are you?",
    });
    const nowhere = new TestClient(apps[0] as Application, "/nowhere");
    expect(await nowhere.connect()).toMatchObject({ accepted: false, code: 4404 });
  });

  test("sends headers, and gets acknowledgements and events as if over a network", async () => {
    const client = enter({ headers: { "X-Test": "yes" } });
    await client.connect();
    expect(await client.emit("said", { at: new Date(0) })).toBe("yes");
    expect(await client.next("said")).toEqual({ at: "1970-01-01T00:00:00.000Z" });
  });

  test("takes events by name and leaves the others", async () => {
    const client = enter();
    await client.connect();
    await client.emit("a", 1);
    await client.emit("b", 2);
    await client.emit("a", 3);
    expect([await client.next("b"), await client.next("a"), await client.next("a")]).toEqual([2, 1, 3]);
  });

  test("can expect silence, of one event or of all", async () => {
    const client = enter();
    await client.connect();
    await client.expectSilence();
    client.send("a", 1);
    await client.expectSilence("b");
    await expect(client.expectSilence()).rejects.toThrow('expected silence, but "a" came with 1');
  });

  test("on a timeout shows what came instead, and the consumer's own error", async () => {
    const client = enter({ timeoutMs: 30 });
    await client.connect();
    await client.emit("a", 1);
    await expect(client.next("b")).rejects.toThrow('waited 30 ms for the event "b"; received: a');
    client.send("throw");
    await expect(client.next("b")).rejects.toThrow(
      /the server closed with 4500; the consumer threw: Error: the consumer's own mistake/,
    );
  });

  test("answers what the consumer asks, or does not", async () => {
    const client = enter();
    await client.connect();
    expect(await client.emit("ask", 1)).toMatchObject({ error: { code: "ask_timeout" } });
    client.answer("question", (n) => (n as number) + 1);
    expect(await client.emit("ask", 1)).toBe(2);
  });

  test("connects first of all, and once at a time", async () => {
    const client = enter();
    expect(() => client.send("a")).toThrow("connect() first");
    await client.connect();
    await expect(client.connect()).rejects.toThrow("it is connected already");
  });
});
