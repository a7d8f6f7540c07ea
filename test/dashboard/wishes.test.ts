/** What a node grants to those who look at dashboards, wherever they are. */
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { createApplication, type Message, type PartContext } from "sluice";
import { WISH_MS, Wishes } from "../../src/dashboard/wishes.ts";

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function granting() {
  const { signals } = createApplication({ routes: [] });
  const told: { readonly channel: string; readonly message: Message }[] = [];
  const send = async (channel: string, message: Message) => void told.push({ channel, message });
  const context = {
    signals,
    node: "n-1",
    layer: { send },
    userId: () => undefined,
  } as unknown as PartContext;
  const wishes = new Wishes(context, "/dashboard", undefined);
  const wish = (channel: string) =>
    wishes.hear({ type: "dashboard.wish", channel, signals: ["unopened"], words: "" });
  const happen = () => {
    told.length = 0;
    signals.unopened.announce({ carrier: "backplane", target: "room.a", reason: "altered" });
    jest.advanceTimersByTime(500);
  };
  return { signals, told, wishes, wish, happen };
}

test("to so many and no more, and to nobody who is no channel", () => {
  const { told, wishes, wish, happen } = granting();
  for (const channel of ["nobody", "a b!c", "../x!y"]) wish(channel);
  for (let n = 0; n < 500; n += 1) wish(`n-2!c-${n}`);
  happen();
  expect(told.map(({ channel }) => channel)).toEqual(Array.from({ length: 20 }, (_, n) => `n-2!c-${n}`));
  wishes.stop();
});

test("as long as the wish is said again", () => {
  const { told, wishes, wish, happen } = granting();
  wish("n-2!once");
  wish("n-2!again");
  jest.advanceTimersByTime(WISH_MS - 1_000);
  wish("n-2!again");
  jest.advanceTimersByTime(2_000);
  happen();
  expect(told.map(({ channel }) => channel)).toEqual(["n-2!again"]);
  jest.advanceTimersByTime(WISH_MS + 1_000);
  expect(jest.getTimerCount()).toBe(0);
  wishes.stop();
});

test("lines up to a bound, and how many more there were", () => {
  const { signals, told, wishes, wish, happen } = granting();
  wish("n-2!c");
  for (let n = 0; n < 99; n += 1) {
    signals.unopened.announce({ carrier: "history", target: `room.${n}`, reason: "altered" });
  }
  happen();
  const { lines, left } = (told[0]?.message ?? {}) as { readonly lines?: readonly unknown[]; left?: number };
  expect([told.length, lines?.length, left]).toEqual([1, 40, 60]);
  wishes.stop();
});
