import { expect, test } from "@jest/globals";
import { Ledger } from "./ledger.ts";

test("who was connected all the time and did not hear a message has lost it", () => {
  const ledger = new Ledger();
  ledger.begin(0);
  const text = ledger.sent(0, [1, 2], 0);
  ledger.accepted(text);
  ledger.heard(1, text, 5);
  expect(ledger.isSettled).toBe(false);
  expect(ledger.account(100)).toMatchObject({ sent: 1, delivered: 1, lost: 1, lostInFlight: 0, twice: 0 });
});

test("who lost the connection before a message came has lost it in flight, and who was away has missed it", () => {
  const ledger = new Ledger();
  ledger.begin(0);
  const text = ledger.sent(0, [1, 2], 1);
  ledger.accepted(text);
  ledger.heard(1, text, 5);
  ledger.wentAway(2, 6);
  expect(ledger.isSettled).toBe(true);
  expect(ledger.account(10)).toMatchObject({ lost: 0, lostInFlight: 1, missedWhileAway: 1, moved: 1 });
});

test("what comes twice, and what comes late, is counted", () => {
  const ledger = new Ledger();
  ledger.begin(0);
  const text = ledger.sent(0, [1, 2], 0);
  ledger.heard(1, text, 5);
  ledger.heard(1, text, 6);
  ledger.heard(2, text, 1_500);
  expect(ledger.account(2_000)).toMatchObject({ delivered: 2, twice: 1, late: 1, latestMs: 1_500 });
});

test("a message that no node acknowledged is nobody's loss, and is said", () => {
  const ledger = new Ledger();
  ledger.begin(0);
  ledger.refused(ledger.sent(0, [1, 2], 3));
  expect(ledger.isSettled).toBe(true);
  expect(ledger.account(10)).toMatchObject({ unacknowledged: 1, lost: 0, missedWhileAway: 0 });
});

test("the longest time away counts those who are still away, and from the chapter's beginning on", () => {
  const ledger = new Ledger();
  ledger.wentAway(1, 0);
  ledger.wentAway(2, 0);
  ledger.begin(1_000);
  ledger.cameIn(1, 1_200);
  expect(ledger.account(1_500).longestGapMs).toBe(500);
  ledger.cameIn(2, 1_600);
  expect(ledger.account(9_000).longestGapMs).toBe(600);
});
