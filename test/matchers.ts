/** The kit's matchers for every test file: Jest runs this before each of them (`jest.config.js`). */
import { expect } from "@jest/globals";
import { matchers, type SluiceMatchers } from "../src/testing/matchers.ts";

declare module "expect" {
  interface Matchers<R extends void | Promise<void>, T = unknown> extends SluiceMatchers {}
}

expect.extend(matchers);
