import { describe, expect, test } from "@jest/globals";
import { InvalidMessage, InvalidName } from "../src/errors.ts";
import {
  checkChannelName,
  checkEventName,
  checkGroupName,
  checkMessageType,
  messageTypeOf,
  nearest,
  nodeOf,
  printable,
} from "../src/names.ts";

describe("the names of groups", () => {
  test.each(["a", "chat.room-1_x", "A".repeat(99)])("%s is one", (name) => {
    expect(checkGroupName(name)).toBe(name);
  });

  test.each(["", "a b", "é", "a/b", "a!b", "A".repeat(100), "a\n"])("%j is none", (name) => {
    expect(() => checkGroupName(name)).toThrow(InvalidName);
  });

  test("what is no text is none", () => {
    expect(() => checkGroupName(undefined as never)).toThrow(/not undefined/);
    expect(() => checkGroupName({ toString: () => "a" } as never)).toThrow(InvalidName);
  });

  test("those of the framework are refused", () => {
    expect(() => checkGroupName("sluice.internal")).toThrow(/belongs to the framework/);
  });
});

describe("the names of channels", () => {
  test("are two names with an exclamation mark between", () => {
    expect(checkChannelName("node!connection")).toBe("node!connection");
    expect(nodeOf("node!connection")).toBe("node");
    for (const bad of ["node", "!a", "a!", "a!b!c", "a b!c"]) {
      expect(() => checkChannelName(bad)).toThrow(InvalidName);
    }
  });
});

describe("the names of events", () => {
  test("may be any text without control characters", () => {
    expect(checkEventName("chat message – né 😀")).toBe("chat message – né 😀");
    for (const bad of ["", "a\nb", "a\u0000", "x".repeat(100)]) {
      expect(() => checkEventName(bad)).toThrow(InvalidName);
    }
  });

  test("are not those of Socket.IO or of the framework", () => {
    for (const name of ["connect", "disconnect", "newListener", "connect_error"]) {
      expect(() => checkEventName(name)).toThrow(/belongs to Socket.IO/);
    }
    expect(() => checkEventName("sluice.close")).toThrow(/belongs to the framework/);
  });
});

describe("the types of messages", () => {
  test("are dotted, and each names a method", () => {
    expect(checkMessageType("chat.message")).toBe("chat.message");
    for (const bad of ["chat", "Chat.message", "chat..message", ".a", "a.b!", 7, undefined]) {
      expect(() => checkMessageType(bad)).toThrow(InvalidMessage);
    }
  });

  test.each([
    ["chatMessage", "chat.message"],
    ["chatRoomClosed", "chat.room.closed"],
    ["chatV2Message", "chat.v2.message"],
    ["say", undefined],
    ["_chatMessage", undefined],
    ["constructor", undefined],
  ])("the method %s handles %s", (method, type) => {
    expect(messageTypeOf(method)).toBe(type);
  });
});

test("the nearest name is the one that was probably meant", () => {
  expect(nearest("prot", ["port", "host"])).toBe("port");
  expect(nearest("maxpayloadbytes", ["maxPayloadBytes"])).toBe("maxPayloadBytes");
  expect(nearest("colour", ["port", "host"])).toBeUndefined();
});

test("text from outside is cut and cannot break a log line or hide in it", () => {
  expect(printable("a\nb\u001b[31m")).toBe("a\\u000ab\\u001b[31m");
  expect(printable("\u202egnp.exe")).toBe("\\u202egnp.exe");
  expect(printable("x".repeat(200), 10)).toBe("xxxxxxxxxx…");
});
