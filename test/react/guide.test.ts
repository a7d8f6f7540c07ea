/** The page about it: what it shows goes into a browser as it stands. */
import { expect, test } from "@jest/globals";
import { transform } from "esbuild";
import { blocksOf } from "../guides.ts";

/** Its name is not written out where it is read, for this does not run it: test/docs/browser-runs.test.ts does. */
const page = "docs/react.md";
/** What a browser can load; whatever else is named brings types alone. */
const LOADABLE = /^(\.\/[\w-]+\.ts|react(\/jsx-runtime)?|socket\.io-client|sluice\/(client|react))$/;

test("no module that it shows loads the server into the browser, by compilers that leave every import", async () => {
  const modules = (await blocksOf(page)).filter(({ language }) => /^tsx?$/.test(language));
  const loaded = await Promise.all(
    modules.map(async ({ code }) => {
      const { code: compiled } = await transform(code, {
        loader: "tsx",
        tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true, jsx: "react-jsx" } },
      });
      return [...compiled.matchAll(/^import\b.*?"([^"]+)";$/gm)].map(([, name = ""]) => name);
    }),
  );
  expect(loaded.flat()).toContain("sluice/react");
  expect(loaded.flat().filter((name) => !LOADABLE.test(name))).toEqual([]);
});
