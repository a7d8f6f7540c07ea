import { expect, test } from "@jest/globals";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { Consumer, createApplication, event, route, validate } from "sluice";
import { TestClient } from "sluice/testing";
import { z } from "zod";

const Said = z.object({ text: z.string().min(1) });

const broken: StandardSchemaV1<string> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: () => Promise.reject(new Error("the database is down")),
  },
};

class Speaker extends Consumer {
  static override readonly events = {
    say: event(Said, (_speaker: Speaker, { text }) => text),
    later: event(
      Said.refine(async () => true),
      (_speaker: Speaker) => true,
    ),
    lookUp: { schema: broken, handler: () => true },
    free: { schema: z.unknown(), handler: (speaker: Speaker, payload: unknown) => speaker.free(payload) },
    hasty: { schema: z.unknown(), handler: (speaker: Speaker, payload: unknown) => speaker.hasty(payload) },
  };
  free(payload: unknown) {
    return this.validate(Said, payload).text;
  }
  hasty(payload: unknown) {
    return this.validate(
      Said.refine(async () => true),
      payload,
    );
  }
}

test("a payload over which its schema stumbles is invalid; what else a schema throws is its own fault", async () => {
  // Whatever has a length is asked for it, and then it is compared.
  const hostile = { text: { length: { valueOf: 1, toString: 1 } } };
  expect(() => Said.safeParse(hostile)).toThrow(TypeError);
  const app = createApplication({ routes: [route("/x", Speaker)] });
  const failed: unknown[] = [];
  app.signals.failed.connect(({ error }) => void failed.push(error));
  const client = new TestClient(app, "/x");
  await client.connect();
  for (const name of ["say", "later", "free", "hasty"]) {
    expect(await client.emit(name, hostile)).toMatchObject({ error: { code: "invalid_message" } });
  }
  expect(await client.emit("free", { text: "hi" })).toBe("hi");
  await expect(validate(Said, hostile)).rejects.toMatchObject({
    code: "invalid_message",
  });
  expect(await client.emit("say", { text: "hi" })).toBe("hi");
  expect(failed).toEqual([]);
  const careless = new TestClient(app, "/x");
  await careless.connect();
  expect(await careless.emit("hasty", { text: "hi" })).toMatchObject({ error: { code: "internal_error" } });
  expect(failed.splice(0)).toMatchObject([{ message: expect.stringContaining("asynchronously") }]);
  expect(await client.emit("lookUp", "x")).toMatchObject({ error: { code: "internal_error" } });
  expect(failed).toMatchObject([{ message: "the database is down" }]);
  await app.stop();
});
