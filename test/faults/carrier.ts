/** Carries positions for a stock socket, by the rules of docs/protocol.md, and hides nothing from whoever checks. */
import type { Place } from "./records.ts";

interface Kept extends Place {
  readonly group: string;
  readonly since: number;
  readonly receipt: string;
}

type Mark = readonly [group: string, epoch: string, offset: number, id: string, part?: number];

interface Tidings {
  readonly type: string;
  readonly group: string;
  readonly user: string;
  /** Of a list. */
  readonly users: readonly { readonly user: string }[];
}

/** What one event of the wire means. */
export type Heard =
  | { readonly kind: "joined"; readonly group: string; readonly place: Place; readonly recovered: boolean }
  | { readonly kind: "gap"; readonly group: string; readonly reason: string; readonly place: Place }
  | { readonly kind: "position"; readonly group: string; readonly place: Place }
  | { readonly kind: "left"; readonly group: string }
  | {
      readonly kind: "presence";
      readonly group: string;
      readonly type: string;
      readonly user: string;
      readonly place?: Place;
    }
  | { readonly kind: "list"; readonly group: string; readonly users: readonly string[] }
  | { readonly kind: "event"; readonly place?: Place; readonly part?: number; readonly group?: string };

export class PositionCarrier {
  readonly #kept = new Map<string, Kept>();

  /** For the handshake. */
  greeting(groups: readonly string[]): object {
    const positions = groups.flatMap((group) => this.#kept.get(group) ?? []);
    return { v: 1, positions };
  }

  forget(group: string): void {
    this.#kept.delete(group);
  }

  hear(event: string, args: readonly unknown[]): Heard {
    const told = args[0] as Kept & { reason: string; recovered: boolean };
    switch (event) {
      case "sluice.joined": {
        const { group, epoch, offset, id, since, receipt, recovered } = told;
        this.#kept.set(group, { group, epoch, offset, id, since, receipt });
        return { kind: "joined", group, place: { epoch, offset, id }, recovered };
      }
      case "sluice.gap":
        this.#move(told.group, told);
        return { kind: "gap", group: told.group, reason: told.reason, place: placeOf(told) };
      case "sluice.position":
        this.#move(told.group, told);
        return { kind: "position", group: told.group, place: placeOf(told) };
      case "sluice.left":
        this.#kept.delete(told.group);
        return { kind: "left", group: told.group };
    }
    const { sluice } = (args[1] ?? {}) as { sluice?: Mark };
    if (event === "sluice.presence") return this.#presence(args[0] as Tidings, sluice);
    if (sluice === undefined) return { kind: "event" };
    const [group, epoch, offset, id, part] = sluice;
    const place = { epoch, offset, id };
    if (part !== undefined) return { kind: "event", group, place, part };
    this.#move(group, place);
    return { kind: "event", group, place };
  }

  #presence({ type, group, user, users }: Tidings, sluice: Mark | undefined): Heard {
    if (type === "list") return { kind: "list", group, users: users.map((present) => present.user) };
    if (sluice === undefined) return { kind: "presence", group, type, user };
    const [, epoch, offset, id] = sluice;
    const place = { epoch, offset, id };
    this.#move(group, place);
    return { kind: "presence", group, type, user, place };
  }

  #move(group: string, { epoch, offset, id }: Place): void {
    const kept = this.#kept.get(group);
    if (kept !== undefined) this.#kept.set(group, { ...kept, epoch, offset, id });
  }
}

function placeOf({ epoch, offset, id }: Place): Place {
  return { epoch, offset, id };
}
