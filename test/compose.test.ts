import { describe, expect, test } from "@jest/globals";
import { type ConnectionDenied, createApplication, deny, type Middleware, type Scope } from "sluice";
import { compose } from "../src/compose.ts";
import { someScope } from "./some-scope.ts";

const scope = someScope();
const accept = async () => {};

test("a hole in a list of middleware stops the start, and never lets anybody through", async () => {
  const holes = [undefined] as unknown as Middleware[];
  expect(() => createApplication({ middleware: holes, routes: [] })).toThrow(
    "a middleware of the application is no function (scope, next)",
  );
  await expect(compose(holes, "/x")(scope, accept)).rejects.toThrow();
});

describe("middleware", () => {
  test("is an onion: the first is the outermost", async () => {
    const steps: string[] = [];
    const layer =
      (name: string): Middleware =>
      async (_scope, next) => {
        steps.push(`${name} in`);
        await next();
        steps.push(`${name} out`);
      };
    await compose([layer("a"), layer("b")], "/x")(scope, async () => void steps.push("consumer"));
    expect(steps).toEqual(["a in", "b in", "consumer", "b out", "a out"]);
  });

  test("hands down a copy: what one adds, those outside do not see", async () => {
    const outer: Middleware = async (seen, next) => {
      await next({ user: "ann", state: { outer: 1 } });
      expect(seen.user).toBeUndefined();
    };
    const inner: Middleware = (seen, next) => {
      expect(seen.user).toBe("ann");
      return next({ state: { inner: 2 } });
    };
    let result: Scope | undefined;
    await compose([outer, inner], "/x")(scope, async (last) => {
      result = last;
    });
    expect(result).toMatchObject({ user: "ann", state: { outer: 1, inner: 2 } });
    expect(scope.state).toEqual({});
  });

  test("cannot change the scope it holds, nor hand down what is not its own to change", async () => {
    const meddler: Middleware = (seen, next) => {
      expect(() => Object.assign(seen, { user: "root" })).toThrow(TypeError);
      expect(() => Object.assign(seen.state, { admin: true })).toThrow(TypeError);
      return next({ id: "forged" } as never);
    };
    let result: Scope | undefined;
    await compose([meddler], "/x")(scope, async (last) => {
      result = last;
    });
    expect(result).toMatchObject({ id: scope.id, user: undefined });
  });

  test("may refuse from any depth; those outside see it pass", async () => {
    const seen: number[] = [];
    const watch: Middleware = async (_scope, next) => {
      try {
        await next();
      } catch (error) {
        seen.push((error as ConnectionDenied).closeCode);
        throw error;
      }
    };
    const run = compose([watch, () => deny(4401, "log in first")], "/x");
    await expect(run(scope, accept)).rejects.toMatchObject({ closeCode: 4401, message: "log in first" });
    expect(seen).toEqual([4401]);
  });

  test("that swallows a refusal does not turn it into a welcome", async () => {
    const swallow: Middleware = async (_scope, next) => {
      await Promise.resolve(next()).catch(() => {});
    };
    await expect(compose([swallow, () => deny()], "/x")(scope, accept)).rejects.toMatchObject({
      closeCode: 4403,
    });
  });

  test("that calls next twice is an error that names it", async () => {
    const eager: Middleware = async function eager(_scope, next) {
      await next();
      await next();
    };
    await expect(compose([eager], '"/chat"')(scope, accept)).rejects.toThrow(
      'middleware "eager" (number 1 of "/chat") called next() twice',
    );
    const careless: Middleware = (_scope, next) => {
      void next();
      void next();
    };
    await expect(compose([careless], "/x")(scope, accept)).rejects.toThrow("twice");
  });

  test("that neither goes on nor refuses is an error that names it", async () => {
    const forgetful: Middleware = function forgetful() {};
    await expect(compose([forgetful], "/x")(scope, accept)).rejects.toThrow(
      'middleware "forgetful" (number 1 of /x) returned without next() and without deny()',
    );
  });

  test("that forgets to wait for next does no harm", async () => {
    let connected = false;
    const hasty: Middleware = (_scope, next) => void next();
    await compose([hasty], "/x")(scope, async () => {
      await new Promise((resolve) => setImmediate(resolve));
      connected = true;
    });
    expect(connected).toBe(true);
    await expect(compose([hasty], "/x")(scope, async () => deny(4400, "no"))).rejects.toThrow("no");
  });
});
