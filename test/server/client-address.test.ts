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
])("behind %s trusted proxies, %j means %s", (trusted, forwarded, expected) => {
  const headers = forwarded === undefined ? {} : { "x-forwarded-for": forwarded };
  const request = { headers, socket: { remoteAddress: "10.0.0.9" } } as unknown as IncomingMessage;
  expect(clientAddress(request, trusted)).toBe(expected);
});
