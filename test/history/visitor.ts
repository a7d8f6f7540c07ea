import type { Application } from "sluice";
import { TestClient } from "sluice/testing";

interface Place {
  group: string;
  epoch: string;
  offset: number;
  id: string;
  since: number;
  receipt: string;
}

/** A client that carries positions, as docs/protocol.md says, and comes back with them. */
export class Visitor {
  readonly places = new Map<string, Place>();
  /** What an application would have seen. */
  readonly seen: unknown[] = [];
  readonly gaps: { reason: string; offset: number }[] = [];
  readonly joins: { offset: number; since: number; recovered: boolean }[] = [];
  /** Offsets of events as they came, to judge their order. */
  readonly offsets: number[] = [];
  readonly #auth: object;
  readonly #namespace: string;
  #parts = { epoch: "", offset: 0, part: 0 };
  client: TestClient | undefined;

  constructor(namespace: string, auth: object = {}) {
    this.#namespace = namespace;
    this.#auth = auth;
  }

  async come(app: Application, positions: readonly object[] = [...this.places.values()]) {
    const auth = { ...this.#auth, sluice: { v: 1, positions } };
    this.client = new TestClient(app, this.#namespace, { auth, timeoutMs: 20_000 });
    return this.client.connect();
  }

  async go(): Promise<void> {
    await this.client?.drop();
    this.absorb();
  }

  /** Takes what has come. */
  absorb(): void {
    for (const { event, payload, position } of this.client?.take() ?? [])
      this.#hear(event, payload, position);
  }

  /** Waits until so many things were seen. */
  async until(holds: () => boolean): Promise<this> {
    const deadline = performance.now() + 20_000;
    for (;;) {
      this.absorb();
      if (holds()) return this;
      if (performance.now() > deadline) throw new Error(`never: ${holds}; seen ${JSON.stringify(this.seen)}`);
      // Not at once: Redis needs its turn as well.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  #hear(event: string, payload: unknown, position: readonly unknown[] | undefined): void {
    const told = payload as Place & { reason: string; recovered: boolean };
    switch (event) {
      case "sluice.joined":
        this.joins.push({ offset: told.offset, since: told.since, recovered: told.recovered });
        return void this.places.set(told.group, { ...told });
      case "sluice.gap":
        this.gaps.push({ reason: told.reason, offset: told.offset });
        return this.#move(told.group, told);
      case "sluice.position":
        return this.#move(told.group, told);
      case "sluice.left":
        return void this.places.delete(told.group);
    }
    if (position === undefined) return void this.seen.push(payload);
    const [group, epoch, offset, id, part] = position as [string, string, number, string, number?];
    if (part === undefined) {
      this.offsets.push(offset);
      this.#move(group, { epoch, offset, id });
    } else {
      const known = this.#parts;
      if (epoch === known.epoch && offset === known.offset && part <= known.part) return;
      this.#parts = { epoch, offset, part };
    }
    this.seen.push(payload);
  }

  #move(group: string, { epoch, offset, id }: Pick<Place, "epoch" | "offset" | "id">): void {
    const place = this.places.get(group);
    if (place !== undefined) Object.assign(place, { epoch, offset, id });
  }
}
