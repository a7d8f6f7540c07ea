/** The parts of `sluice/client`, one by one: what each remembers, for how long, and when it stops. */
import { afterEach, describe, expect, jest, test } from "@jest/globals";
import { Answers } from "../../src/client/answers.ts";
import { Comeback } from "../../src/client/comeback.ts";
import { Ears } from "../../src/client/ears.ts";
import { KeptPositions } from "../../src/client/kept-positions.ts";
import { Positions } from "../../src/client/positions.ts";

afterEach(() => {
  jest.useRealTimers();
});

const RECEIPT = { since: 1, receipt: "r" };
const place = (group: string, epoch: string, offset: number) => ({ group, epoch, offset, id: `i${offset}` });

describe("answers to questions that are asked again", () => {
  test("are given once, and to whoever asked last", () => {
    const [asked, again, late] = [jest.fn(), jest.fn(), jest.fn()];
    const answers = new Answers();
    const answer = answers.first(1, asked);
    answers.again(1, again);
    answer("yes");
    answer("no");
    expect([asked.mock.calls, again.mock.calls]).toEqual([[], [["yes"]]]);
    answers.again(1, late);
    expect(late.mock.calls).toEqual([["yes"]]);
  });

  test("are remembered of 100, and given of the others as they come", () => {
    const answers = new Answers();
    const asked = Array.from({ length: 101 }, () => jest.fn());
    const given = asked.map((acknowledge, part) => answers.first(part, acknowledge));
    expect(given[99]).not.toBe(asked[99]);
    expect(given[100]).toBe(asked[100]);
    const again = jest.fn();
    given[100]?.("now");
    answers.again(100, again);
    expect([asked[100]?.mock.calls, again.mock.calls]).toEqual([[["now"]], []]);
  });
});

describe("positions", () => {
  const joined = (epoch = "x", offset = 0) => {
    const positions = new Positions();
    positions.join(place("den", epoch, offset), RECEIPT, false);
    return positions;
  };
  const hears = (positions: Positions, offset: number, epoch = "x") =>
    positions.hear({ ...place("den", epoch, offset), part: 1 }, undefined) !== false;

  test("remember of 100 handlers what they have sent, until they have ended", () => {
    const positions = joined();
    for (let offset = 1; offset <= 101; offset++) expect(hears(positions, offset)).toBe(true);
    expect([hears(positions, 100), hears(positions, 101)]).toEqual([false, true]);
    positions.advance(place("den", "x", 100));
    expect([hears(positions, 100), hears(positions, 101), hears(positions, 101)]).toEqual([
      false,
      true,
      false,
    ]);
  });

  test("go on with a handler of the same log only", () => {
    const positions = joined();
    expect(hears(positions, 5)).toBe(true);
    positions.join(place("den", "x", 0), RECEIPT, true);
    expect(hears(positions, 5)).toBe(false);
    positions.join(place("den", "y", 0), RECEIPT, true);
    expect(hears(positions, 5, "y")).toBe(true);
  });

  test("are not too many where the server has let the client in within the same connection", () => {
    const positions = joined();
    positions.handOver();
    expect(positions.join(place("new", "x", 3), RECEIPT, false)).toBe(false);
    expect(positions.join(place("new", "x", 9), RECEIPT, false)).toBe(false);
    positions.forget();
    expect(positions.join(place("den", "x", 9), RECEIPT, false)).toBe(false);
  });
});

describe("a socket that comes back", () => {
  function scene() {
    jest.useFakeTimers({ now: 1_000_000 });
    const io = {
      reconnection: () => true,
      reconnectionAttempts: () => Infinity,
      reconnectionDelay: () => 100,
      reconnectionDelayMax: () => 10_000,
      randomizationFactor: () => 0,
    };
    const socket = { connected: false, active: false, connect: jest.fn(), disconnect: jest.fn(), io };
    const comeback = new Comeback(socket);
    return {
      ...{ socket, comeback },
      /** Closed by a code; how long it waits then. */
      waits(code: unknown): number | undefined {
        comeback.announced(code);
        comeback.disconnected("io server disconnect");
        const beganAt = Date.now();
        if (jest.getTimerCount() === 0) return undefined;
        jest.advanceTimersToNextTimer();
        return Date.now() - beganAt;
      },
    };
  }

  test.each([
    [4_499, undefined],
    [4_500, 100],
    [4_599, 100],
    [4_600, undefined],
    [1e308, undefined],
    [Number.NaN, undefined],
    ["4503", undefined],
    [{ valueOf: 1 }, undefined],
  ])("does so after code %j: %j", (code, waitMs) => {
    const { socket, waits } = scene();
    expect(waits(code)).toBe(waitMs);
    expect(socket.connect).toHaveBeenCalledTimes(waitMs === undefined ? 0 : 1);
  });

  test("waits longer each time, until it was connected for a while", () => {
    const { comeback, waits } = scene();
    expect([waits(4503), waits(4503)]).toEqual([100, 200]);
    comeback.connected();
    jest.advanceTimersByTime(10_000);
    expect(waits(4503)).toBe(400);
    comeback.connected();
    jest.advanceTimersByTime(10_001);
    expect(waits(4503)).toBe(100);
  });

  test("does nothing where somebody else has brought it back, or will", () => {
    const { socket, comeback, waits } = scene();
    socket.active = true;
    waits(4503);
    expect(socket.connect).not.toHaveBeenCalled();
    comeback.refused({ data: { code: 4503 } });
    expect(jest.getTimerCount()).toBe(0);
    socket.active = false;
    for (const nothing of [undefined, null, "x", {}, { data: null }]) comeback.refused(nothing);
    expect(jest.getTimerCount()).toBe(0);
    comeback.refused({ data: { code: 4503 } });
    expect(jest.getTimerCount()).toBe(1);
  });
});

test("who has cleared their ears hears nothing", () => {
  const ears = new Ears<{ readonly said: string }>();
  const heard = jest.fn();
  ears.on("said", heard);
  ears.clear();
  ears.tell("said", "x");
  expect(heard).not.toHaveBeenCalled();
});

test("positions are written again each time they change, and when the page goes, until it is stopped", () => {
  jest.useFakeTimers();
  const page = new EventTarget();
  const scope = globalThis as { addEventListener?: unknown; removeEventListener?: unknown };
  scope.addEventListener = page.addEventListener.bind(page);
  scope.removeEventListener = page.removeEventListener.bind(page);
  try {
    const written: string[] = [];
    let n = 0;
    const area = { getItem: () => null, setItem: (_key: string, text: string) => void written.push(text) };
    const kept = new KeptPositions(area, "key", () => [++n]);
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 100; i++) kept.writeSoon();
      jest.advanceTimersByTime(1_000);
    }
    expect(written).toEqual(["[1]", "[2]"]);
    page.dispatchEvent(new Event("pagehide"));
    kept.stop();
    expect(written).toEqual(["[1]", "[2]", "[3]", "[4]"]);
    page.dispatchEvent(new Event("pagehide"));
    expect(written).toHaveLength(4);
  } finally {
    delete scope.addEventListener;
    delete scope.removeEventListener;
  }
});
