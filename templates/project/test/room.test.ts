import assert from "node:assert/strict";
import { test } from "node:test";
import { createApplication } from "sluice";
import { TestClient } from "sluice/testing";
import { groups, routes } from "../routes.ts";

test("what one says all in the room hear, and who comes later is told", async (t) => {
  const app = createApplication({ routes, groups });
  t.after(() => app.stop());
  const ann = new TestClient(app, "/rooms/lobby");
  const bob = new TestClient(app, "/rooms/lobby");
  const late = new TestClient(app, "/rooms/lobby");
  await ann.connect();
  await bob.connect();

  assert.deepEqual(await ann.emit("say", { from: "Ann", text: "hello" }), { sent: true });
  assert.deepEqual(await bob.next("said"), { from: "Ann", text: "hello" });

  await late.connect();
  assert.deepEqual(await late.next("said"), { from: "Ann", text: "hello" });
});

test("nobody says nothing", async (t) => {
  const app = createApplication({ routes, groups });
  t.after(() => app.stop());
  const ann = new TestClient(app, "/rooms/lobby");
  await ann.connect();
  const answer = await ann.emit("say", { from: "Ann", text: " " });
  assert.equal((answer as { error: { code: string } }).error.code, "invalid_message");
});
