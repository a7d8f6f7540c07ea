import { describe, expect, test } from "@jest/globals";
import { ConfigurationError } from "../src/errors.ts";
import { applicationDefaults, resolveOptions, serverDefaults } from "../src/options.ts";

function faultsOf(given: object): readonly string[] {
  try {
    resolveOptions(serverDefaults, given, "server");
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError);
    return (error as ConfigurationError).faults;
  }
}

describe("options", () => {
  test("are the defaults where nothing is given, also in sections", () => {
    const options = resolveOptions(
      applicationDefaults,
      { limits: { mailbox: 5 }, connectTimeoutMs: undefined },
      "application",
    );
    expect(options.limits.mailbox).toBe(5);
    expect(options.limits.groupsPerConnection).toBe(applicationDefaults.limits.groupsPerConnection);
    expect(options.connectTimeoutMs).toBe(applicationDefaults.connectTimeoutMs);
    expect(applicationDefaults.limits.mailbox).not.toBe(5);
  });

  test("that do not exist are refused with the nearest name", () => {
    expect(faultsOf({ prot: 1 })).toEqual(['server.prot is no option; did you mean "port"?']);
    expect(faultsOf({ limits: { maxPayloadByte: 1 } })).toEqual([
      'server.limits.maxPayloadByte is no option; did you mean "maxPayloadBytes"?',
    ]);
    expect(faultsOf({ somethingElse: 1 })[0]).toMatch(/is no option; there are host, port/);
    expect(faultsOf({ constructor: 1, hasOwnProperty: 1 })).toHaveLength(2);
  });

  test("of the wrong kind are refused, all at once", () => {
    const faults = faultsOf({
      port: 70_000,
      host: 3,
      origins: "https://a.example",
      pingIntervalMs: 0,
      pingTimeoutMs: 2 ** 31,
      trustedProxies: -1,
      limits: 5,
      allowMissingOrigin: "yes",
    });
    expect(faults).toEqual([
      "server.port must be a port from 0 to 65535, not 70000",
      "server.host must be a string, not 3",
      "server.origins must be a list of text, not 'https://a.example'",
      "server.pingIntervalMs must be a whole number of at least 1 (below 2^31), not 0",
      "server.pingTimeoutMs must be a whole number of at least 1 (below 2^31), not 2147483648",
      "server.trustedProxies must be a whole number of proxies, not -1",
      expect.stringMatching(/^server.limits must be an object with any of/),
      "server.allowMissingOrigin must be a boolean, not 'yes'",
    ]);
    expect(faultsOf({ port: Number("abc") })).toEqual([
      "server.port must be a port from 0 to 65535, not NaN",
    ]);
  });
});
