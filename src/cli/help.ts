/** What `--help` says, beside what each command says of itself. */
import type { Command } from "commander";
import { nearest, printable } from "../names.ts";
import { UsageError } from "./complaint.ts";
import { VARIABLES } from "./environment.ts";

export const APP = "the file that exports compose; left out: what `sluice.app` in package.json names";
export const APP_RULE =
  'APP is a file that exports a function `compose(context)`, which returns a server (createServer); left out, package.json names it: "sluice": { "app": "app.ts" }. TypeScript runs as it is on Node 22.18 or newer, before that with tsx in the project.';

export const EXAMPLES = `
Examples:
  sluice new my-chat                                    begin a project
  sluice dev                                            serve it while you work on it
  sluice start --host 0.0.0.0 --processes auto          serve it on all interfaces, with all cores
  sluice work --queues default:20,heavy:2               work on tasks, beside the nodes
  sluice check                                          find what is wrong, and how to mend it
  sluice inspect                                        see all nodes, connections, groups and tasks
  sluice emit news headline '{"text":"hello"}'          tell all clients in the group "news"

What a command takes: sluice help start
Exit codes: 0 well; 1 it could not be done, or something was found wrong; 2 the command line is wrong`;

export function examples(lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`;
}

export function exits(well: string, ill: string): string {
  return `\nExit codes: 0 ${well}; 1 ${ill}; 2 the command line is wrong`;
}

export function environmentHelp(): string {
  const width = Math.max(...Object.keys(VARIABLES).map((name) => name.length));
  const lines = Object.entries(VARIABLES).map(([name, { default: usual, meaning }]) => {
    const ending = usual === "" ? "" : ` (default ${usual})`;
    return `  ${name.padEnd(width)}  ${meaning.replaceAll("`", "")}${ending}`;
  });
  return ["", "Environment (an option wins over its variable):", ...lines].join("\n");
}

/** Whoever is told what is wrong is told where it stands what is right. */
export function teaches(command: Command, where: string): void {
  command.configureOutput({
    outputError: (text, write) => write(`sluice: ${oneLine(text)} (see: ${where})\n`),
  });
}

/** Commander's own shows all there is for what there is not, and does not say so. */
export function checkHelp(program: Command, [first, name]: readonly string[]): void {
  const names = ["help", ...program.commands.map((command) => command.name())];
  if (first !== "help" || name === undefined || name.startsWith("-") || names.includes(name)) return;
  const meant = nearest(name, names, 2);
  throw new UsageError(
    `there is no command "${printable(name)}" (${meant === undefined ? "sluice help names them" : `did you mean ${meant}?`})`,
  );
}

export function oneLine(text: string): string {
  return text
    .replace(/^error: /, "")
    .trim()
    .replace(/\s*\n\s*/g, " ");
}
