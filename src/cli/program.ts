import { createRequire } from "node:module";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { complain, exitCodeOf } from "./complaint.ts";
import { readCount, readEnvironment, readPort, readProcesses, readQueues, VARIABLES } from "./environment.ts";
import type { StartOptions } from "./start.ts";
import type { WorkOptions } from "./work.ts";

/**
 * The command line: reads it, runs the command, and says what went wrong.
 *
 * @returns the exit code of what has ended; undefined while a server runs
 */
export async function run(args: readonly string[]): Promise<number | undefined> {
  const program = commands();
  try {
    await program.parseAsync([...args], { from: "user" });
    return undefined;
  } catch (error) {
    // Commander has said it already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    complain(error);
    return exitCodeOf(error);
  }
}

function commands(): Command {
  const program = new Command("sluice")
    .description(
      "Real-time channels for Node.js: run an application, or speak to the clients of a running one.",
    )
    .version(versionOfPackage(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print what a command does and takes")
    .helpCommand("help [command]", "print what a command does and takes")
    .configureOutput({ outputError: (text, write) => write(`sluice: ${oneLine(text)}\n`) })
    .addHelpText("after", EXAMPLES)
    .exitOverride();

  program
    .command("start")
    .summary("serve an application")
    .description(
      "Serves an application until SIGTERM or SIGINT. MODULE is a JavaScript file that exports a function `compose(context)`, which returns a server (createServer).",
    )
    .argument("<MODULE>", "the file, from the folder you are in")
    .option("-H, --host <address>", "the address to listen on (HOST)")
    .option("-p, --port <number>", "the port to listen on, 0 for a free one (PORT)", checked(readPort))
    .option(
      "-n, --processes <number>",
      "how many processes serve it, or auto (PROCESSES)",
      checked(readProcesses),
    )
    .addHelpText("after", `\nEnvironment (an option wins over its variable):\n${environmentHelp()}`)
    .action(async (module: string, options: StartOptions) => {
      const { start } = await import("./start.ts");
      await start(module, options, readEnvironment(process.env));
    });

  program
    .command("work")
    .summary("work on an application's tasks")
    .description(
      "Works on queues of tasks until SIGTERM or SIGINT; serves no clients. Needs REDIS_URL. MODULE is the one that `sluice start` takes. What runs when it is told to end may end within STOP_TIMEOUT_MS; what is left is aborted and given back.",
    )
    .argument("<MODULE>", "the file, from the folder you are in")
    .option("-q, --queues <list>", "queues, and how many runs of each at once (QUEUES)", checked(readQueues))
    .option(
      "--health-port <number>",
      "a port that answers /livez, 0 for a free one (HEALTH_PORT)",
      checked(readPort),
    )
    .option("--max-runs <number>", "end after so many runs, to be started anew", checked(readCount))
    .option("--max-memory-mb <number>", "end when it holds more memory, in MiB", checked(readCount))
    .addHelpText("after", `\nEnvironment (an option wins over its variable):\n${environmentHelp()}`)
    .action(async (module: string, options: WorkOptions) => {
      const { work } = await import("./work.ts");
      await work(module, options, readEnvironment(process.env));
    });

  program
    .command("send")
    .summary("send a message to the consumers in a group")
    .description(
      "Runs the handler of the message's type on every consumer in the group, on every node. Needs REDIS_URL. Ends when Redis has the message.",
    )
    .argument("<GROUP>", "the group's name")
    .argument(
      "<MESSAGE>",
      'JSON with a dotted type, e.g. \'{"type":"chat.notice","text":"hi"}\'; - reads it from standard input',
    )
    .action(async (group: string, json: string) => {
      const { send } = await import("./publish.ts");
      await send(group, json, readEnvironment(process.env));
    });

  program
    .command("emit")
    .summary("send an event to the clients in a group")
    .description(
      "Sends an event straight to the clients of the group's members, on every node. Needs REDIS_URL. Ends when Redis has the event.",
    )
    .argument("<GROUP>", "the group's name")
    .argument("<EVENT>", "the event's name")
    .argument("[PAYLOAD]", "JSON; - reads it from standard input")
    .action(async (group: string, event: string, json: string | undefined) => {
      const { emit } = await import("./publish.ts");
      await emit(group, event, json, readEnvironment(process.env));
    });
  return program;
}

const EXAMPLES = `
Examples:
  sluice start app.js                                   serve on http://127.0.0.1:3000
  sluice start app.js --host 0.0.0.0 --processes auto   on all interfaces, with all cores
  sluice work app.js --queues default:20,heavy:2        work on tasks, beside the nodes
  sluice emit news headline '{"text":"hello"}'          tell all clients in the group "news"

What a command takes: sluice help start`;

function environmentHelp(): string {
  const width = Math.max(...Object.keys(VARIABLES).map((name) => name.length));
  const lines = Object.entries(VARIABLES).map(([name, { default: usual, meaning }]) => {
    const ending = usual === "" ? "" : ` (default ${usual})`;
    return `  ${name.padEnd(width)}  ${meaning.replaceAll("`", "")}${ending}`;
  });
  return lines.join("\n");
}

/** The same check for an option as for its variable. */
function checked<T>(read: (value: string) => T): (value: string) => T {
  return (value) => {
    try {
      return read(value);
    } catch (error) {
      throw new InvalidArgumentError(`It must be ${(error as Error).message}.`);
    }
  };
}

function oneLine(text: string): string {
  return text
    .replace(/^error: /, "")
    .trim()
    .replace(/\s*\n\s*/g, " ");
}

function versionOfPackage(): string {
  const { version } = createRequire(import.meta.url)("sluice/package.json") as { version: string };
  return version;
}
