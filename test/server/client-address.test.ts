import type { IncomingMessage } from "node:http";
import { expect, test } from "@jest/globals";
import { clientAddress } from "../../src/server/scope.ts";

test.each([
  [0, "1.1.1.1", "10.0.0.9"],
  [1, undefined, "10.0.0.9"],
  [1, "1.1.1.1", "1.1.1.1"],
  [1, "6.6.6.6, 1.1.1.1", "1.1.1.1"],
  [2, "6.6.6.6, 1.1.1.1, 10.0.0.8", "1.1.1.1"],
  [2, "1.1.1.1", "1.1.1.1"],
  [1, "not an address\u001b[31m", "10.0.0.9"],
  [1, "2001:db8::1", "2001:db8::1"],
  [1, "1.1.1.1:4711", "1.1.1.1"],
  [1, "6.6.6.6:1, 1.1.1.1:65535", "1.1.1.1"],
  [1, "[2001:db8::1]:4711", "2001:db8::1"],
  [1, "[2001:db8::1]", "2001:db8::1"],
  // Without brackets it is all of it an address.
  [1, "2001:db8::1:4711", "2001:db8::1:4711"],
  [1, "1.1.1.1:", "10.0.0.9"],
  [1, "1.1.1.1:port", "10.0.0.9"],
  [1, "1.1.1.1:4711:4711", "10.0.0.9"],
  [1, "999.1.1.1:80", "10.0.0.9"],
  [1, "[not an address]:80", "10.0.0.9"],
  [1, "[]:80", "10.0.0.9"],
])("behind %s trusted proxies, %j means %s", (trusted, forwarded, expected) => {
  const headers = forwarded === undefined ? {} : { "x-forwarded-for": forwarded };
  const request = { headers, socket: { remoteAddress: "10.0.0.9" } } as unknown as IncomingMessage;
  expect(clientAddress(request, trusted)).toBe(expected);
});
