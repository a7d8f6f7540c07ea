/** What `sluice generate` writes. */

/** How a project writes. */
export interface Style {
  readonly isTyped: boolean;
  /** Of files. */
  readonly ending: "ts" | "js" | "mjs";
  /** Of files in imports. */
  readonly importEnding: "ts" | "js" | "mjs";
  readonly hasZod: boolean;
  readonly runner: "node" | "jest" | "vitest";
}

export interface Made {
  /** Without an ending. */
  readonly file: string;
  readonly source: string;
  readonly test: string;
  /** What to add, and where. */
  readonly next: string;
}

/** The path to the folder of what is made, from tests and from where all is put together. */
export type PathFrom = (from: "test" | "sources") => string;

export function writeConsumer(words: readonly string[], style: Style, pathFrom: PathFrom): Made {
  const { hasZod, isTyped, importEnding } = style;
  const kebab = words.join("-");
  const className = `${pascal(words)}Consumer`;
  const file = `${kebab}-consumer`;
  const override = isTyped ? "override " : "";
  const ofClass = isTyped ? `: ${className}` : "";
  const parsed = isTyped ? "text: string" : "text";
  const payload = isTyped ? "event: string, payload: unknown" : "event, payload";
  const events = hasZod
    ? `  static ${override}${isTyped ? "readonly " : ""}events = {
    say: event(Say, (client${ofClass}, { text }) => client.say(text)),
  };
`
    : "";
  const receive = hasZod
    ? ""
    : `
  ${override}receive(${payload}) {
    if (event !== "say") throw new NoHandler(\`there is no event "\${event}"; there is say\`);
    const { text } = Object(payload);
    if (typeof text !== "string" || text === "") throw new InvalidMessage("send { text } with some text in it");
    return this.say(text);
  }
`;
  const imports = hasZod
    ? `import { Consumer, event } from "sluice";\nimport { z } from "zod";`
    : `import { Consumer, InvalidMessage, NoHandler } from "sluice";`;
  return {
    file,
    source: `${imports}
${hasZod ? "\nconst Say = z.object({ text: z.string().min(1).max(500) });\n" : ""}
/** One client of \`/${kebab}/:name\`. */
export class ${className} extends Consumer {
${events}  ${isTyped ? "readonly " : ""}group = \`${kebab}.\${this.scope.params.name}\`;

  ${override}async connect() {
    await this.groupAdd(this.group); // from here on every message reaches us
  }
${receive}
  ${isTyped ? "" : "/** @param {string} text */\n  "}async say(${parsed}) {
    await this.groupEmit(this.group, "said", { text });
    return { sent: true }; // the client's acknowledgement
  }
}
`,
    test: `${testImports(style)}import { createApplication, route } from "sluice";
import { TestClient } from "sluice/testing";
import { ${className} } from "${pathFrom("test")}/${file}.${importEnding}";

const routes = [route("/${kebab}/:name", ${className})];

test("${words.join(" ")}: what one says all hear", async () => {
  const app = createApplication({ routes });
  const ann = new TestClient(app, "/${kebab}/one");
  const bob = new TestClient(app, "/${kebab}/one");
  await ann.connect();
  await bob.connect();
  ${equal(style, 'await ann.emit("say", { text: "hello" })', "{ sent: true }")}
  ${equal(style, 'await bob.next("said")', '{ text: "hello" }')}
  await app.stop();
});

test("${words.join(" ")}: what is no text is refused, and nobody hears it", async () => {
  const app = createApplication({ routes });
  const ann = new TestClient(app, "/${kebab}/one");
  await ann.connect();
  const { error } = ${isTyped ? '(await ann.emit("say", { text: 1 })) as { error: { code: string } }' : 'await ann.emit("say", { text: 1 })'};
  ${equal(style, "error.code", '"invalid_message"')}
  await ann.expectSilence();
  await app.stop();
});
`,
    next: `Add it to your routes:

  import { ${className} } from "${pathFrom("sources")}/${file}.${importEnding}";

  route("/${kebab}/:name", ${className}),`,
  };
}

export function writeTask(words: readonly string[], style: Style, pathFrom: PathFrom): Made {
  const { hasZod, isTyped, importEnding } = style;
  const kebab = words.join("-");
  const name = nameOf(words);
  const args = hasZod
    ? "{ schema: z.object({ items: z.array(z.string()) }), retry: { attempts: 3 } }"
    : "{ retry: { attempts: 3 } }";
  const taken = isTyped && !hasZod ? "{ items }: { items: string[] }" : "{ items }";
  return {
    file: kebab,
    source: `import { task } from "sluice/tasks";
${hasZod ? 'import { z } from "zod";\n' : ""}
/** Runs in the background, at least once: it should bear running twice. */
export const ${name} = task(
  "${kebab}",
  ${args},
  async (${taken}, run) => {
    for (const [index, item] of items.entries()) {
      run.signal.throwIfAborted(); // cancelled, or out of time
      run.log("working", { item }); // the work
      run.progress(index + 1, items.length, item);
    }
    return { done: items.length };
  },
);
`,
    test: `${testImports(style)}import { testTasks } from "sluice/tasks";
import { ${name} } from "${pathFrom("test")}/${kebab}.${importEnding}";

test("${words.join(" ")}: does each item", async () => {
  const background = await testTasks({ tasks: [${name}] });
  await ${name}.enqueue({ items: ["one", "two"] });
  const [run] = await background.drain();
  ${equal(style, "run?.result", "{ done: 2 }")}
  await background.stop();
});
`,
    next: `Add it to your tasks, where the application is put together:

  import { Tasks } from "sluice/tasks";
  import { ${name} } from "${pathFrom("sources")}/${kebab}.${importEnding}";

  new Tasks({ ...tasks, tasks: [${name}] }), // \`tasks\` is what compose is given; for createApplication({ parts: [...] })

and enqueue it from anywhere:

  await ${name}.enqueue({ items: ["one", "two"] });`,
  };
}

function testImports({ runner }: Style): string {
  if (runner === "node")
    return `import assert from "node:assert/strict";\nimport { test } from "node:test";\n`;
  return `import { expect, test } from "${runner === "jest" ? "@jest/globals" : "vitest"}";\n`;
}

function equal({ runner }: Style, actual: string, expected: string): string {
  return runner === "node"
    ? `assert.deepEqual(${actual}, ${expected});`
    : `expect(${actual}).toEqual(${expected});`;
}

function pascal(words: readonly string[]): string {
  return words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}

/** What JavaScript keeps for itself, and what the files that we write import. */
const TAKEN = new Set(
  [
    ...["arguments await break case catch class const continue debugger default delete do else enum eval"],
    ...["export extends false finally for function if implements import in instanceof interface let new"],
    ...["null package private protected public return static super switch this throw true try typeof"],
    ...["undefined var void while with yield assert background expect run task test testTasks z"],
  ].flatMap((line) => line.split(" ")),
);

/** Of the function: `send-mail` is `sendMail`, and `delete` is `deleteTask`. */
function nameOf(words: readonly string[]): string {
  const name = camel(words);
  return TAKEN.has(name) ? `${name}Task` : name;
}

function camel(words: readonly string[]): string {
  const [first = "", ...others] = words;
  return first + pascal(others);
}
