import { expect, test } from "@jest/globals";
import { GroupPattern } from "../../src/publishing/group-pattern.ts";

test.each([
  ["chat.lobby", "chat.lobby", true],
  ["chat.lobby", "chat.attic", false],
  ["chat.lobby", "chat", false],
  ["chat.*", "chat.lobby", true],
  ["chat.*", "chat.a.b", false],
  ["chat.*", "chat", false],
  ["chat.*", "chat.", false],
  ["chat.*", "Chat.lobby", false],
  ["chat.*", "xchat.lobby", false],
  ["*", "lobby", true],
  ["*", "chat.lobby", false],
  ["*", "", false],
  ["*.*", "chat.lobby", true],
  ["user.*.orders", "user.7.orders", true],
  ["user.*.orders", "user.7.8.orders", false],
  ["user.*.orders", "user..orders", false],
  ["constructor", "constructor", true],
  ["a-b_c", "a-b_c", true],
  ["*", "x".repeat(100), false],
])("%s and the group %s: %s", (pattern, group, matches) => {
  expect(new GroupPattern(pattern).matches(group)).toBe(matches);
});

test.each([
  "",
  ".",
  "chat.",
  ".chat",
  "a..b",
  "**",
  "chat.**",
  "chat.l*",
  "a b",
  "a/b",
  "ä",
  "x".repeat(100),
])("%j is no pattern", (pattern) => {
  expect(() => new GroupPattern(pattern)).toThrow("a pattern of groups is");
});

test("no pattern is for the framework's own groups", () => {
  expect(() => new GroupPattern("sluice.*")).toThrow('"sluice."');
  expect(new GroupPattern("sluice").matches("sluice")).toBe(true);
});
