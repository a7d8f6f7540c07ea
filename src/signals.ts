/**
 * Signals: announced facts. Whoever wants to know connects a receiver; whoever announces does not know
 * them. The framework's own facts are in `facts.ts`; make your own with {@link Signal}.
 *
 * @example
 * const orderPaid = new Signal<{ orderId: string }>("order.paid");
 * const disconnect = orderPaid.connect(async ({ orderId }) => { await mail(orderId); });
 * await orderPaid.send({ orderId: "42" });
 */

/** Hears a fact; `sender` is who announced it, if that was said. May be async. */
export type Receiver<Fact> = (fact: Fact, sender: unknown) => unknown;

/** What one receiver made of a fact. */
export type Outcome<Fact> =
  | { readonly receiver: Receiver<Fact>; readonly value: unknown }
  | { readonly receiver: Receiver<Fact>; readonly error: unknown };

interface Connection<Fact> {
  readonly receiver: Receiver<Fact>;
  readonly sender: unknown;
}

/**
 * A fact that can be announced, and who hears it. Receivers run in the order in which they were connected.
 */
export class Signal<Fact> {
  readonly name: string;
  /** Replaced, never changed, so that a receiver may connect or disconnect others while it runs. */
  #connections: readonly Connection<Fact>[] = [];
  readonly #onError: (error: unknown, signal: string) => void;

  /** @param onError - hears what receivers throw in `announce`; by default it is an uncaught exception */
  constructor(name: string, onError: (error: unknown, signal: string) => void = rethrow) {
    this.name = name;
    this.#onError = onError;
  }

  /** So that a fact nobody wants costs nothing: build it only if this says true. */
  get hasReceivers(): boolean {
    return this.#connections.length > 0;
  }

  /**
   * Adds a receiver; they run in the order of connecting. The same receiver for the same sender is
   * connected once.
   *
   * @param options - `sender`: hear only what that object announces
   * @returns a function that disconnects it again
   */
  connect(receiver: Receiver<Fact>, options: { readonly sender?: unknown } = {}): () => void {
    const { sender } = options;
    const same = (c: Connection<Fact>) => c.receiver === receiver && c.sender === sender;
    if (!this.#connections.some(same)) this.#connections = [...this.#connections, { receiver, sender }];
    return () => {
      this.#connections = this.#connections.filter((c) => !same(c));
    };
  }

  /**
   * Runs the receivers one after the other and waits for each. The first error ends it and rejects.
   *
   * @returns what each receiver returned
   */
  async send(fact: Fact, sender?: unknown): Promise<readonly Outcome<Fact>[]> {
    const outcomes: Outcome<Fact>[] = [];
    for (const { receiver } of this.#for(sender)) {
      outcomes.push({ receiver, value: await receiver(fact, sender) });
    }
    return outcomes;
  }

  /** Runs all receivers at once and waits for all; one that throws does not touch the others. */
  async sendRobust(fact: Fact, sender?: unknown): Promise<readonly Outcome<Fact>[]> {
    const run = async ({ receiver }: Connection<Fact>): Promise<Outcome<Fact>> => {
      try {
        return { receiver, value: await receiver(fact, sender) };
      } catch (error) {
        return { receiver, error };
      }
    };
    return Promise.all(this.#for(sender).map(run));
  }

  /** Tells all receivers and waits for none. What they throw goes to `onError`; never throws. */
  announce(fact: Fact, sender?: unknown): void {
    for (const { receiver, sender: from } of this.#connections) {
      if (from !== undefined && from !== sender) continue;
      try {
        const returned = receiver(fact, sender);
        if (returned instanceof Promise) returned.catch((error) => this.#onError(error, this.name));
      } catch (error) {
        this.#onError(error, this.name);
      }
    }
  }

  #for(sender: unknown): readonly Connection<Fact>[] {
    return this.#connections.filter((c) => c.sender === undefined || c.sender === sender);
  }
}

function rethrow(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
