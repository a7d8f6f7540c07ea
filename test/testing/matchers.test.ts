import { afterEach, describe, expect, test } from "@jest/globals";
import { type Application, Consumer, createApplication, route } from "sluice";
import { TestClient, type TestClientOptions } from "sluice/testing";

class Room extends Consumer {
  override async connect() {
    if (this.scope.auth.name === undefined) this.deny(4401, "who are you?");
    if (this.scope.auth.name === "broken") throw new Error("a bug");
    await this.groupAdd("room");
  }
  override async receive(event: string, payload: unknown) {
    if (event === "go") return this.close(4403, "go away");
    await this.groupEmit("room", event, payload);
  }
}

const apps: Application[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
});

function client(options: TestClientOptions = { auth: { name: "Ann" } }) {
  const app = createApplication({ routes: [route("/room", Room)] });
  apps.push(app);
  return new TestClient(app, "/room", { timeoutMs: 30, ...options });
}

/** What a failed expectation says, without colours. */
async function complaint(expectation: Promise<void>): Promise<string> {
  const error = await expectation.then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  if (error === undefined) throw new Error("the expectation held");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal is told of colours
  return error.message.replace(/\u001b\[\d+m/g, "");
}

describe("toBeAccepted and toBeRefusedWith", () => {
  test("connect a client that has not connected, and take what connect() said as well", async () => {
    await expect(client()).toBeAccepted();
    await expect(client({ auth: {} })).toBeRefusedWith(4401);
    await expect(client({ auth: {} })).toBeRefusedWith(4401, "who are you?");
    await expect(client({ auth: {} })).toBeRefusedWith(4401, expect.stringContaining("who"));
    await expect(await client({ auth: {} }).connect()).toBeRefusedWith(4401);
    await expect(client({ auth: {} })).not.toBeAccepted();
    await expect(client()).not.toBeRefusedWith(4401);
    const ann = client();
    await ann.connect();
    await expect(ann).toBeAccepted();
  });

  test("say what was instead", async () => {
    expect(await complaint(expect(client()).toBeRefusedWith(4401))).toContain(
      "Expected: 4401\nReceived: accepted",
    );
    expect(await complaint(expect(client({ auth: {} })).toBeRefusedWith(4403, "no"))).toContain(
      'Expected: 4403 "no"\nReceived: refused with 4401 "who are you?"',
    );
    expect(await complaint(expect(client({ auth: {} })).toBeRefusedWith(4401, "other"))).toContain("who are");
    const broken = client({ auth: { name: "broken" } });
    expect(await complaint(expect(broken).toBeAccepted())).toContain("The consumer threw: Error: a bug");
    expect(await complaint(expect(client()).not.toBeAccepted())).toContain("accepted");
  });
});

describe("toHaveReceived", () => {
  test("sees what has come, waits for what has not, and takes nothing", async () => {
    const ann = client();
    await ann.connect();
    const expected = expect(ann).toHaveReceived("said", { n: 1 });
    await ann.emit("said", { n: 1 });
    await expected;
    await expect(ann).toHaveReceived("said");
    await expect(ann).toHaveReceived("said", { n: expect.any(Number) });
    expect(await ann.next("said")).toEqual({ n: 1 });
    await expect(ann).toHaveReceived("said", { n: 1 });
  });

  test("with not waits until nobody has anything to do, and then for nothing", async () => {
    const ann = client();
    await ann.connect();
    ann.send("said", 1);
    await expect(ann).not.toHaveReceived("said", 2);
    await expect(ann).not.toHaveReceived("heard");
    ann.send("heard", 1);
    expect(await complaint(expect(ann).not.toHaveReceived("heard"))).toContain('Expected not: "heard"');
  });

  test("says what came instead", async () => {
    const ann = client();
    await ann.connect();
    await ann.emit("said", { n: 1 });
    expect(await complaint(expect(ann).toHaveReceived("said", { n: 2 }))).toMatch(
      /Expected: "said" \{"n": 2\}\nReceived: \n {2}"said" \{"n": 1\}/,
    );
    const bob = client();
    await bob.connect();
    expect(await complaint(expect(bob).toHaveReceived("said"))).toContain("Received: nothing");
  });
});

test("toBeClosedWith waits for the close, and tells code and reason", async () => {
  const ann = client();
  await ann.connect();
  await expect(ann).not.toBeClosedWith(4403);
  expect(await complaint(expect(ann).toBeClosedWith(4403))).toContain("it is open");
  ann.send("go");
  await expect(ann).toBeClosedWith(4403, "go away");
  expect(await complaint(expect(ann).toBeClosedWith(4404))).toContain('Received: 4403 "go away"');
  expect(await complaint(expect(ann).not.toBeClosedWith(4403))).toContain("Expected not: 4403");
});

test("toBeEmpty says what an application still has", async () => {
  const ann = client();
  await ann.connect();
  const app = apps[0] as Application;
  expect(app).not.toBeEmpty();
  expect(() => expect(app).toBeEmpty()).toThrow(/1 connections, 1 channels, 1 groups/);
  await ann.disconnect();
  expect(app).toBeEmpty();
});

test("what is no client, or no application, is a mistake of the test", async () => {
  await expect(expect("ann").toHaveReceived("said")).rejects.toThrow("toHaveReceived() is for a TestClient");
  await expect(expect({}).toBeRefusedWith(4401)).rejects.toThrow("is for a TestClient");
  expect(() => expect({}).toBeEmpty()).toThrow("is for an Application");
});
