import { afterEach, expect, test } from "@jest/globals";
import { type Application, Consumer, createApplication, event, type PayloadCodec, route } from "sluice";
import { TestClient } from "sluice/testing";
import { z } from "zod";

/** Dates, which JSON does not have, as `{ "date": milliseconds }`. */
const dates: PayloadCodec = {
  encode(payload) {
    if (typeof payload === "function") throw new Error("a function cannot travel");
    return payload instanceof Date ? { date: payload.getTime() } : payload;
  },
  decode(payload) {
    const { date } = (payload ?? {}) as { date?: number };
    if (date !== undefined && !Number.isFinite(date)) throw new Error("no date");
    return date === undefined ? payload : new Date(date);
  },
};

const DAY_MS = 86_400_000;

class Calendar extends Consumer {
  static override readonly codec = dates;
  static override readonly groups = ["calendar"];
  static override readonly events = {
    next: event(z.date(), (_calendar: Calendar, day) => new Date(day.getTime() + DAY_MS)),
  };
  override async receive(name: string, payload: unknown): Promise<unknown> {
    if (name === "tell") this.send("told", payload);
    if (name === "all") await this.groupEmit("calendar", "told", payload);
    if (name === "ask") return (await this.ask("when", new Date(5))) instanceof Date;
    if (name === "bad") return () => {};
    if (name === "bad group") await this.groupEmit("calendar", "told", () => {});
    return payload instanceof Date;
  }
}

let app: Application;
afterEach(() => app.stop());

async function client(): Promise<TestClient> {
  app = createApplication({ routes: [route("/calendar", Calendar)] });
  const calendar = new TestClient(app, "/calendar");
  await calendar.connect();
  return calendar;
}

test("a class' codec is between its handlers and the wire, in every verb", async () => {
  const calendar = await client();
  expect(await calendar.emit("next", { date: 0 })).toEqual({ date: DAY_MS });
  expect(await calendar.emit("tell", { date: 1 })).toBe(true);
  expect(await calendar.next("told")).toEqual({ date: 1 });
  expect(await calendar.emit("all", { date: 2 })).toBe(true);
  expect(await calendar.next("told")).toEqual({ date: 2 });
  calendar.answer("when", (payload) => payload);
  expect(await calendar.emit("ask", "plain")).toBe(true);
});

test("what cannot be decoded is refused, and the connection goes on", async () => {
  const calendar = await client();
  const refused = { error: { code: "invalid_message", message: "the payload cannot be decoded" } };
  expect(await calendar.emit("tell", { date: "soon" })).toEqual(refused);
  expect(await calendar.emit("next", { date: "soon" })).toEqual(refused);
  expect(await calendar.emit("next", { date: 0 })).toEqual({ date: DAY_MS });
});

test.each(["bad", "bad group"])("what cannot be encoded is the handler's fault (%s)", async (name) => {
  const calendar = await client();
  expect(await calendar.emit(name)).toMatchObject({ error: { code: "internal_error" } });
  await expect(calendar).toBeClosedWith(4500);
});

test("a codec that is none stops the start", () => {
  class Odd extends Consumer {
    static override readonly codec = { encode: (payload: unknown) => payload } as never;
  }
  expect(() => createApplication({ routes: [route("/odd", Odd)] })).toThrow(
    "Odd.codec must be { encode(payload), decode(payload) }",
  );
  app = createApplication({ routes: [] });
});
