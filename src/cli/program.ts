import { createRequire } from "node:module";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { findApp } from "./app-file.ts";
import type { CanaryOptions } from "./canary.ts";
import type { CheckOptions } from "./check.ts";
import { complain, exitCodeOf, isUnplaced, showUncaught } from "./complaint.ts";
import type { DevOptions } from "./dev.ts";
import {
  readCount,
  readDuration,
  readEnvironment,
  readPort,
  readProcesses,
  readQueues,
} from "./environment.ts";
import {
  APP,
  APP_RULE,
  checkHelp,
  EXAMPLES,
  environmentHelp,
  examples,
  exits,
  oneLine,
  teaches,
} from "./help.ts";
import type { InspectOptions } from "./inspect.ts";
import type { StartOptions } from "./start.ts";
import type { WorkOptions } from "./work.ts";

/**
 * The command line: reads it, runs the command, and says what went wrong.
 *
 * @returns the exit code of what has ended; undefined while a server runs
 */
export async function run(args: readonly string[]): Promise<number | undefined> {
  const outcome: Outcome = { exitCode: undefined };
  const program = commands(outcome);
  try {
    checkHelp(program, args);
    await program.parseAsync([...args], { from: "user" });
    return outcome.exitCode;
  } catch (error) {
    // Commander has said it already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (isUnplaced(error)) return showUncaught(error);
    complain(error);
    return exitCodeOf(error);
  }
}

/** Of a command that has ended. */
interface Outcome {
  exitCode: number | undefined;
}

function commands(outcome: Outcome): Command {
  const program = new Command("sluice")
    .description(
      "Real-time channels for Node.js: begin a project, run it, look into it, and speak to the clients of a running one.",
    )
    .version(versionOfPackage(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print what a command does and takes")
    .helpCommand("help [command]", "print what a command does and takes")
    .configureOutput({ outputError: (text, write) => write(`sluice: ${oneLine(text)}\n`) })
    .addHelpText("after", EXAMPLES)
    .exitOverride();
  begin(program, outcome);
  runs(program);
  look(program, outcome);
  speak(program);
  for (const command of program.commands) {
    teaches(command, `sluice help ${command.name()}`);
    for (const below of command.commands) teaches(below, `sluice ${command.name()} ${below.name()} --help`);
  }
  return program;
}

function begin(program: Command, outcome: Outcome): void {
  program.commandsGroup("Begin:");
  program
    .command("new")
    .summary("begin a project")
    .description(
      "Makes a folder with a project of one consumer, one route, one page and one test, in TypeScript. Writes into no folder that has something in it.",
    )
    .argument("<NAME>", "of the folder and of the package: lower case, digits, - and _")
    .addHelpText("after", examples(["sluice new my-chat", "cd my-chat && npm install && npm run dev"]))
    .action(async (name: string) => {
      const { newProject } = await import("./new.ts");
      outcome.exitCode = await newProject(name);
    });

  const generate = program
    .command("generate")
    .summary("add a consumer or a task, with its test")
    .description("Writes a class or function and its test into your project, and says what to add where.")
    .addHelpText("after", examples(["sluice generate consumer chat-room", "sluice generate task send-mail"]));
  for (const kind of ["consumer", "task"] as const) {
    generate
      .command(kind)
      .description(
        `Writes a ${kind} and its test into the project of this folder. Nothing is ever overwritten; the project's language, test runner and schemas (zod) are found out.`,
      )
      .argument("<NAME>", "what it is called, e.g. chat-room or ChatRoom")
      .action(async (name: string) => {
        const { generate } = await import("./generate.ts");
        outcome.exitCode = await generate(kind, name);
      });
  }
}

function runs(program: Command): void {
  program.commandsGroup("Run:");
  listens(
    program
      .command("dev")
      .summary("serve while you work: a change of the code restarts it")
      .description(
        `Serves an application for one developer. When a file of code changes it is started anew behind the same port; browsers come back by themselves, and without Redis the histories of groups are handed over. An application that does not start is reported, and the one before goes on. ${APP_RULE}`,
      ),
  )
    .option(
      "-w, --watch <path>",
      "a file or folder whose changes restart it, too; as often as you like",
      several,
    )
    .addHelpText(
      "after",
      `${examples(["sluice dev", "sluice dev app.ts --port 4000 --watch config.json"])}

The environment is that of start: sluice help start`,
    )
    .action(async (given: string | undefined, options: DevOptions) => {
      const { dev } = await import("./dev.ts");
      await dev(given, options, readEnvironment(process.env));
    });

  listens(
    program
      .command("start")
      .summary("serve an application")
      .description(`Serves an application until SIGTERM or SIGINT. ${APP_RULE}`),
  )
    .option(
      "-n, --processes <number>",
      "how many processes serve it, or auto (PROCESSES)",
      checked(readProcesses),
    )
    .addHelpText(
      "after",
      `${examples(["sluice start", "sluice start app.js --host 0.0.0.0 --processes auto"])}\n${environmentHelp()}`,
    )
    .action(async (given: string | undefined, options: StartOptions) => {
      const { start } = await import("./start.ts");
      const environment = readEnvironment(process.env);
      await start(findApp(given), options, environment);
    });

  program
    .command("work")
    .summary("work on an application's tasks")
    .description(
      `Works on queues of tasks until SIGTERM or SIGINT; serves no clients. Needs REDIS_URL. What runs when it is told to end may end within STOP_TIMEOUT_MS; what is left is aborted and given back. ${APP_RULE}`,
    )
    .argument("[APP]", APP)
    .option("-q, --queues <list>", "queues, and how many runs of each at once (QUEUES)", checked(readQueues))
    .option(
      "--health-port <number>",
      "a port that answers /livez, 0 for a free one (HEALTH_PORT)",
      checked(readPort),
    )
    .option("--max-runs <number>", "end after so many runs, to be started anew", checked(readCount))
    .option("--max-memory-mb <number>", "end when it holds more memory, in MiB", checked(readCount))
    .addHelpText(
      "after",
      `${examples(["sluice work", "sluice work --queues default:20,heavy:2"])}\n${environmentHelp()}`,
    )
    .action(async (given: string | undefined, options: WorkOptions) => {
      const { work } = await import("./work.ts");
      const environment = readEnvironment(process.env);
      await work(findApp(given), options, environment);
    });
}

function look(program: Command, outcome: Outcome): void {
  program.commandsGroup("Look:");
  listens(
    program
      .command("check")
      .summary("find what is wrong before it is started")
      .description(
        `Puts the application together without starting it, asks Redis for its version and for each right that is needed, and tries the port. Says of each fault how to mend it. Leaves nothing anywhere. ${APP_RULE}`,
      ),
  )
    .option("-n, --processes <number>", "as many as there will be (PROCESSES)", checked(readProcesses))
    .option("--json", "print the findings for programs")
    .addHelpText(
      "after",
      `${examples(["sluice check", "REDIS_URL=redis://10.0.0.5 sluice check --json"])}\n${exits("no fault", "some fault")}`,
    )
    .action(async (given: string | undefined, options: CheckOptions) => {
      const { check } = await import("./check.ts");
      outcome.exitCode = await check(given, options);
    });

  program
    .command("routes")
    .summary("print the table of routes as it resolves")
    .description(
      `Prints each route in the order in which they are tried: protocol, pattern, who serves it, middleware from the outermost, parameters with their converters, name. Starts nothing. ${APP_RULE}`,
    )
    .argument("[APP]", APP)
    .option("--json", "print it for programs")
    .addHelpText("after", examples(["sluice routes", "sluice routes --json | jq '.[].pattern'"]))
    .action(async (given: string | undefined, options: { readonly json?: boolean }) => {
      const { routes } = await import("./routes.ts");
      outcome.exitCode = await routes(findApp(given), options, readEnvironment(process.env));
    });

  program
    .command("inspect")
    .summary("see all nodes of a running application")
    .description(
      "Listens for a while to what nodes and workers report, and prints them: state, load, connections by route, the busiest groups with members and presence, tasks. It is no node itself and asks none, so that one that hangs shows as stale. Needs REDIS_URL, and in the application the part `dashboard()` of sluice/dashboard (a password is for its page only). Rates are known from the second report of a node on, by default after 2 s.",
    )
    .option(
      "-f, --for <time>",
      "how long to listen, as 5s, 1500ms or 1m (default: 5s; with --watch until Ctrl+C)",
      checked(readDuration),
    )
    .option("-w, --watch", "print it anew every second")
    .option("--json", "print it for programs; with --watch an object a line")
    .addHelpText(
      "after",
      `${examples([
        "REDIS_URL=redis://10.0.0.5 sluice inspect",
        "sluice inspect --watch",
        "sluice inspect --for 3s --json | jq '.nodes[] | {node, state, connections: .gauges.connections}'",
        "sluice inspect --json | jq '.groups[] | select(.members > 1000).group'",
      ])}\n${exits("a node was heard", "none was, or Redis cannot be reached")}`,
    )
    .action(async (options: InspectOptions) => {
      const { inspect } = await import("./inspect.ts");
      outcome.exitCode = await inspect(options, readEnvironment(process.env));
    });

  program
    .command("canary")
    .summary("see whether a running application does its work")
    .description(
      "Does what a browser does: connects twice, joins a group, sends, hears, loses its connection, and is given what it missed. Prints how long each step took. The application needs the part `canary({ key })` of sluice/canary.",
    )
    .argument("<URL>", "of the server, e.g. https://chat.example")
    .option("-k, --key <text>", "the key that the application's canary has (CANARY_KEY)")
    .option("--path <path>", "where its route is", "/canary")
    .option("--timeout <ms>", "how long all of it may take", checked(readCount), 10_000)
    .option("--json", "print the steps for programs")
    .addHelpText(
      "after",
      `${examples(["CANARY_KEY=... sluice canary https://chat.example", "sluice canary http://127.0.0.1:3000 --timeout 2000 --json"])}\n${exits("all steps went well", "a step failed, or there was no time")}`,
    )
    .action(async (url: string, options: CanaryOptions) => {
      const { canary } = await import("./canary.ts");
      outcome.exitCode = await canary(url, options, readEnvironment(process.env));
    });
}

function speak(program: Command): void {
  program.commandsGroup("Speak:");
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
    .addHelpText("after", examples([`sluice send chat.lobby '{"type":"chat.notice","text":"hi"}'`]))
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
    .addHelpText(
      "after",
      examples([
        `sluice emit news headline '{"text":"hello"}'`,
        "jq .news feed.json | sluice emit news headline -",
      ]),
    )
    .action(async (group: string, event: string, json: string | undefined) => {
      const { emit } = await import("./publish.ts");
      await emit(group, event, json, readEnvironment(process.env));
    });
}

/** What commands have in common that listen on a port. */
function listens(command: Command): Command {
  return command
    .argument("[APP]", APP)
    .option("-H, --host <address>", "the address to listen on (HOST)")
    .option("-p, --port <number>", "the port to listen on, 0 for a free one (PORT)", checked(readPort));
}

function several(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
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

function versionOfPackage(): string {
  const { version } = createRequire(import.meta.url)("sluice/package.json") as { version: string };
  return version;
}
