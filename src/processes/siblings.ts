import { type Answered, type Call, isCall, type Port } from "./protocol.ts";

/** What one process waits for. */
interface Question {
  readonly answers: Map<string, string | undefined>;
  /** Those that have not answered; undefined: who they are is not known yet. */
  missing: Set<string> | undefined;
  done(): void;
}

/**
 * The other processes behind the same port, as one of them asks them, by way of the primary: which only passes on,
 * so that none of them can hold up another for longer than it is ready to wait.
 */
export class Siblings {
  /** Of this process; as in the log. */
  readonly name: string;
  readonly #port = process as unknown as Port;
  readonly #questions = new Map<number, Question>();
  #lastNumber = 0;
  #tell: (() => Promise<string>) | undefined;

  /** @param number - of this process */
  constructor(number: number) {
    this.name = String(number);
    // Ends with the process, like the channel that it hears.
    this.#port.on("message", (message) => {
      if (isCall(message)) this.#hear(message);
    });
  }

  /**
   * What this process says when another one asks; what it throws is no answer. One at a time.
   *
   * @returns ends it; from then on it says that it has nothing to tell
   */
  answer(tell: () => Promise<string>): () => void {
    this.#tell = tell;
    return () => {
      if (this.#tell === tell) this.#tell = undefined;
    };
  }

  /**
   * Asks all others that serve.
   *
   * @returns what they say, by their names; undefined of those that have not answered within the time. Those that
   * have nothing to tell are left out. Never rejects
   */
  async ask(withinMs: number): Promise<ReadonlyMap<string, string | undefined>> {
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    const answers = new Map<string, string | undefined>();
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((done) => {
      timer = setTimeout(done, withinMs);
      this.#questions.set(number, { answers, missing: undefined, done });
      this.#say({ sluice: "ask", number });
    });
    clearTimeout(timer);
    for (const name of this.#questions.get(number)?.missing ?? []) answers.set(name, undefined);
    this.#questions.delete(number);
    return answers;
  }

  #hear(call: Call): void {
    if (call.sluice === "asked") return void this.#reply(call.by, call.number);
    const question = this.#questions.get(call.number);
    if (question === undefined) return;
    if (call.sluice === "expect") question.missing = new Set(call.processes.map(String));
    else if (question.missing?.delete(String(call.by)) && call.text !== null) {
      question.answers.set(String(call.by), call.text);
    }
    if (question.missing?.size === 0) question.done();
  }

  async #reply(to: number, number: number): Promise<void> {
    try {
      this.#say({ sluice: "answer", to, number, text: (await this.#tell?.()) ?? null });
    } catch {
      // No answer says that something is wrong here.
    }
  }

  #say(message: { readonly sluice: "ask"; readonly number: number } | Answered): void {
    this.#port.send?.({ ...message }, () => {});
  }
}
