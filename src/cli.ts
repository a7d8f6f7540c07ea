#!/usr/bin/env node
import { run } from "./cli/program.ts";

const exitCode = await run(process.argv.slice(2));
// What else a program has begun must not keep it from ending.
if (exitCode !== undefined) process.exit(exitCode);
