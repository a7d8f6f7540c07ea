/** What commands that end say on standard output. */

/** Resolves when it is written, so that the program may end. */
export function say(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(`${text}\n`, () => resolve()));
}

/** Columns as wide as their widest cell; one without any content is left out. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const columns = head.flatMap((title, at) => {
    const cells = rows.map((row) => row[at] ?? "");
    if (cells.every((cell) => cell === "")) return [];
    const width = Math.max(title.length, ...cells.map((cell) => cell.length));
    return [[title.toUpperCase(), ...cells].map((cell) => cell.padEnd(width))];
  });
  return [head, ...rows]
    .map((_, line) =>
      columns
        .map((column) => column[line])
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Whether colours would be seen. */
export function isColourful(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR;
}

/** Whether somebody looks at it who is there now: a terminal that can write over a line, and no machine's. */
export function isWatched(stream: Pick<NodeJS.WriteStream, "isTTY">): boolean {
  return stream.isTTY === true && !process.env.CI && process.env.TERM !== "dumb";
}

/** A line that is written over again and again while something takes long; on a terminal only. */
export class ProgressLine {
  readonly #stream: Pick<NodeJS.WriteStream, "write" | "columns">;
  readonly #isOn: boolean;
  #isShown = false;

  constructor(stream: Pick<NodeJS.WriteStream, "write" | "isTTY" | "columns">, isOn = stream.isTTY) {
    this.#stream = stream;
    this.#isOn = isOn;
  }

  show(text: string): void {
    if (!this.#isOn) return;
    // A line that breaks could not be written over.
    this.#stream.write(`\r\u001b[K${text.slice(0, Math.max((this.#stream.columns || 80) - 1, 0))}`);
    this.#isShown = true;
  }

  clear(): void {
    if (this.#isShown) this.#stream.write("\r\u001b[K");
    this.#isShown = false;
  }
}
