// The "sluice-source" condition makes `import ... from "sluice"` mean src/, so tests need no build.
export default {
  roots: ["<rootDir>/test"],
  extensionsToTreatAsEsm: [".ts"],
  testEnvironment: "node",
  setupFilesAfterEnv: ["<rootDir>/test/matchers.ts"],
  // Most tests wait most of their time, so each core can have some.
  maxWorkers: "100%",
  // Nothing is measured by it: it ends what hangs, and a busy machine needs its time.
  testTimeout: 30_000,
  testEnvironmentOptions: { customExportConditions: ["sluice-source", "node"] },
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { target: "es2022", parser: { syntax: "typescript" } }, module: { type: "es6" } },
    ],
  },
};
