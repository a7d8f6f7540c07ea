/** What a node grants to those who look at dashboards, wherever they are. */
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { createApplication, type Message, type PartContext } from "sluice";
import { SentCounts } from "../../src/dashboard/sent-counts.ts";
import { WISH_MS, Wishes } from "../../src/dashboard/wishes.ts";

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

function granting() {
  const { signals } = createApplication({ routes: [] });
  const told: { readonly channel: string; readonly message: Message }[] = [];
  const send = async (channel: string, message: Message) => void told.push({ channel, message });
  const layer = { groupSizes: () => [["room.a", 1]], presentHere: () => undefined };
  const groupHere = () => ({ members: 1, running: [] });
  const app = {
    ...{ layers: new Map([["default", layer]]), groupHere, running: () => [] },
    settings: { limits: { maxMessageBytes: 10_000 } },
  };
  const context = {
    signals,
    app,
    node: "n-1",
    layer: { send },
    userId: () => undefined,
  } as unknown as PartContext;
  const wishes = new Wishes(context, new SentCounts(signals), "/dashboard", undefined);
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

test("groups as long as they are wished, those of the latest wish, and at once when that is another", async () => {
  const { told, wishes } = granting();
  const wish = (more: object) => wishes.hear({ type: "dashboard.wish", channel: "n-2!c", ...more });
  const types = async () => {
    // Looking is done in turns of the event loop.
    for (let n = 0; n < 5; n += 1) await jest.advanceTimersByTimeAsync(0);
    return told.splice(0).map(({ message }) => [message.type, message.words ?? message.group]);
  };
  wish({ groups: "ROOM" });
  expect(await types()).toEqual([["dashboard.groups", "room"]]);
  wish({ groups: "room" });
  expect(await types()).toEqual([]);
  wish({ groups: "nothing", group: { layer: "default", group: "room.a" } });
  expect(await types()).toEqual([
    ["dashboard.groups", "nothing"],
    ["dashboard.group", "room.a"],
  ]);
  await jest.advanceTimersByTimeAsync(2_000);
  expect(await types()).toHaveLength(2);
  for (const group of ["room.a", { layer: "default" }, { layer: 1, group: "room.a" }, null, []]) {
    wish({ group });
    expect(await types()).toEqual([]);
    expect(jest.getTimerCount()).toBe(0);
  }
  wish({ groups: "room" });
  await types();
  await jest.advanceTimersByTimeAsync(WISH_MS + 1_000);
  await types();
  expect(jest.getTimerCount()).toBe(0);
  wishes.stop();
});
