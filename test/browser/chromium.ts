/** A real Chromium for tests. */
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe } from "@jest/globals";
import { type Browser, chromium } from "playwright-core";
import { testNeeding } from "../needing.ts";

export const chromiumPath = process.env.CHROMIUM_PATH || "/usr/bin/chromium";
const isThere = existsSync(chromiumPath);
const remedy = `there is no ${chromiumPath}; install Chromium or set CHROMIUM_PATH`;

/** A test that starts a browser of its own, and is skipped, by name, where there is none. */
export const chromiumTest = testNeeding(isThere, remedy);

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * Like `describe`, with a browser that the tests share. Where there is no Chromium the tests are skipped, and
 * the title says what to do.
 *
 * @param body - `running` is the browser, in hooks and tests
 */
export function describeWithChromium(title: string, body: (running: () => Browser) => void): void {
  let browser: Browser | undefined;
  const running = () => {
    if (browser === undefined) throw new Error("the browser is there in hooks and tests only");
    return browser;
  };
  if (!isThere) {
    // Jest doesn't print the names in a file where all tests are skipped.
    process.stderr.write(`Skipped: ${title} (${remedy})\n`);
    describe.skip(`${title} [skipped: ${remedy}]`, () => body(running));
    return;
  }
  describe(title, () => {
    beforeAll(async () => {
      browser = await chromium.launch({ executablePath: chromiumPath, args: ARGS });
    });
    afterAll(() => browser?.close());
    body(running);
  });
}
