/** Sends an answer to the server. */
export type Acknowledge = (...answer: readonly unknown[]) => void;

/** So many answers are remembered; questions beyond them are answered as they come. */
const MAX_ANSWERS = 100;

/**
 * Answers to questions that a handler asks and, if it did not come to its end, asks again: the listeners hear
 * each one once, and whoever asked last gets their answer.
 */
export class Answers {
  readonly #asked = new Map<number, { acknowledge: Acknowledge; answer?: readonly unknown[] }>();

  /** Heard for the first time; what the listeners are to answer by. */
  first(part: number, acknowledge: Acknowledge): Acknowledge {
    if (this.#asked.size >= MAX_ANSWERS) return acknowledge;
    const asked: { acknowledge: Acknowledge; answer?: readonly unknown[] } = { acknowledge };
    this.#asked.set(part, asked);
    return (...answer) => {
      if (asked.answer !== undefined) return;
      asked.answer = answer;
      asked.acknowledge(...answer);
    };
  }

  again(part: number, acknowledge: Acknowledge): void {
    const asked = this.#asked.get(part);
    if (asked === undefined) return;
    asked.acknowledge = acknowledge;
    if (asked.answer !== undefined) acknowledge(...asked.answer);
  }
}
