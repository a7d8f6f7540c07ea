/**
 * Who comes and goes, as members are told: for each user joins and leaves alternate while the connection
 * holds, and a list says the same as what was told before it.
 */
import type { ClientRecord, Entry, Records, Verdict } from "./records.ts";

const MAX_TOLD = 100;
/** What the client heard about the group, or went through, before a fault. */
const SHOWN_BEFORE = 12;

/** What a client knows of one group, on one connection. */
interface Known {
  /** Users and whether they are in; of others it knows nothing, unless it has the list. */
  readonly isIn: Map<string, boolean>;
  hasList: boolean;
}

export function judgePresence(records: Records): Verdict {
  return new PresenceJudge(records).verdict();
}

class PresenceJudge {
  readonly #records: Records;
  readonly #users: ReadonlySet<string>;
  readonly #broken: string[] = [];
  readonly #figures = { joins: 0, leaves: 0, lists: 0 };

  constructor(records: Records) {
    this.#records = records;
    this.#users = new Set(records.clients.flatMap(({ user }) => user ?? []));
  }

  verdict(): Verdict {
    for (const client of this.#records.clients) this.#walk(client);
    return { broken: this.#broken, figures: this.#figures };
  }

  #walk({ name, entries }: ClientRecord): void {
    const groups = new Map<string, Known>();
    const out = new Set<string>();
    for (const [index, entry] of entries.entries()) {
      switch (entry.kind) {
        case "connected":
        case "disconnected":
          groups.clear();
          out.clear();
          break;
        case "gap":
          // What was told before is not all that happened; the list, or the difference, is told after it.
          groups.delete(entry.group);
          break;
        case "joining":
          groups.delete(entry.group);
          out.delete(entry.group);
          break;
        case "left":
          out.add(entry.group);
          break;
        case "list":
        case "presence": {
          const known = groups.get(entry.group) ?? { isIn: new Map(), hasList: false };
          groups.set(entry.group, known);
          const wrong = this.#wrong(entry, known, out);
          if (wrong !== undefined && this.#broken.length < MAX_TOLD) {
            this.#broken.push(`${name}: ${wrong}\n    ${story(entries.slice(0, index + 1))}`);
          }
        }
      }
    }
  }

  #wrong(
    entry: Entry & { kind: "list" | "presence" },
    known: Known,
    out: ReadonlySet<string>,
  ): string | undefined {
    const { group } = entry;
    const policy = this.#records.policies.get(group);
    if (policy?.presence !== true) return `is told who is in ${group}, which keeps none`;
    // With history it waits for the handlers of what was given before, and may come a moment late.
    if (out.has(group) && policy.history) return undefined;
    if (out.has(group)) return `is told who is in ${group}, which it has left`;
    return entry.kind === "list" ? this.#list(entry, known) : this.#change(entry, known);
  }

  #list({ group, users }: Entry & { kind: "list" }, known: Known): string | undefined {
    this.#figures.lists += 1;
    const { isIn, hasList } = known;
    const listed = new Set(users);
    const other = [...isIn].find(([user, is]) => is !== listed.has(user))?.[0];
    const silent = hasList ? users.find((user) => !isIn.has(user)) : undefined;
    const strange = users.find((user) => !this.#users.has(user));
    isIn.clear();
    for (const user of users) isIn.set(user, true);
    known.hasList = true;
    if (strange !== undefined) return `finds ${strange} in ${group}, who is nobody`;
    const wrong = other ?? silent;
    if (wrong === undefined) return undefined;
    return `finds ${wrong} ${listed.has(wrong) ? "in" : "no more in"} the list of ${group} WITHOUT A WORD before`;
  }

  #change({ group, type, user }: Entry & { kind: "presence" }, { isIn, hasList }: Known): string | undefined {
    if (type === "update") return undefined;
    const isJoin = type === "join";
    this.#figures[isJoin ? "joins" : "leaves"] += 1;
    if (!this.#users.has(user)) return `is told of a ${type} of ${user} in ${group}, who is nobody`;
    const was = isIn.get(user) ?? (hasList ? false : undefined);
    isIn.set(user, isJoin);
    if (was === undefined || was !== isJoin) return undefined;
    return `is told TWICE of a ${type} of ${user} in ${group}`;
  }
}

/** The last entry, with those before it that have to do with it. */
function story(entries: readonly Entry[]): string {
  const last = entries.at(-1);
  const group = last !== undefined && "group" in last ? last.group : undefined;
  const user = last?.kind === "presence" ? last.user : undefined;
  const before = entries.slice(0, -1).filter((entry) => {
    if (entry.kind === "event" || entry.kind === "position") return false;
    if (entry.kind === "presence" && user !== undefined && entry.user !== user) return false;
    return !("group" in entry) || entry.group === group;
  });
  const shown = [...before.slice(-SHOWN_BEFORE), ...(last === undefined ? [] : [last])];
  return shown.map(({ at, ...entry }) => `${at.toFixed(0)} ms ${JSON.stringify(entry)}`).join("\n    ");
}
