// The "source" condition makes `import ... from "sluice"` mean src/, so tests need no build.
export default {
  roots: ["<rootDir>/test"],
  extensionsToTreatAsEsm: [".ts"],
  testEnvironment: "node",
  testEnvironmentOptions: { customExportConditions: ["source", "node"] },
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { target: "es2022", parser: { syntax: "typescript" } }, module: { type: "es6" } },
    ],
  },
};
