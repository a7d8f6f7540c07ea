import { isOurs, PEERS, type Peer, type PeerKey } from "../peers.ts";
import { interleave, type Plan } from "../rounds.ts";
import type { Scale } from "../scale.ts";
import { type Crowd, Stage, type StageOptions } from "../stage.ts";

/** Something that is measured in each round. */
export interface Figure {
  readonly key: string;
  readonly name: string;
  readonly digits: number;
}

export type Round = Readonly<Record<string, number>>;

export interface Entrant {
  /** The key of its contender, and what it does otherwise if it is there more than once. */
  readonly key: string;
  readonly name: string;
  readonly rounds: readonly Round[];
}

/** What is known in the end; it is kept as it stands here. */
export interface Result {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly figures: readonly Figure[];
  /** The figure that is drawn. */
  readonly chart?: string;
  readonly entrants: readonly Entrant[];
}

/** A contender in a scenario. */
export interface Entry {
  readonly key: string;
  readonly name: string;
  readonly peer: PeerKey;
  readonly crowd: Crowd;
  /** Entries with the same contender and the same crowd share a stage. */
  readonly crowdKey: string;
}

export interface Run {
  readonly scale: Scale;
  /** Who takes part, as far as a scenario wants them. */
  readonly peers: readonly PeerKey[];
  /** They were asked for by name: a quick run takes no fewer. */
  readonly arePicked: boolean;
  readonly stages: Stages;
  /** A contender could not be started. */
  skip(peer: PeerKey, reason: string): void;
}

export interface Scenario {
  readonly id: string;
  readonly title: string;
  /** Left out unless it is asked for by name. */
  readonly isRare?: boolean;
  entries(run: Run): readonly Entry[];
  run(run: Run, entries: readonly Entry[]): Promise<Result>;
}

/** Of each round: how disturbed it was. It is kept beside the figures. */
export const DISTURBED = "disturbed";

export interface StagedOptions {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly figures: readonly Figure[];
  readonly chart?: string;
  readonly peers: readonly PeerKey[];
  /** In a quick run; all of them, if not said. */
  readonly quickPeers?: readonly PeerKey[];
  entries(scale: Scale, peer: PeerKey): readonly Entry[];
  /** Each measurement has a stage of its own. */
  readonly isFresh?: boolean;
  /** Instead of the scale's. */
  readonly rounds?: (scale: Scale) => Partial<Plan>;
  measure(stage: Stage, scale: Scale, entry: Entry): Promise<Round>;
}

/** Entrants on stages, measured in turn. */
export function staged(options: StagedOptions): Scenario {
  const { id, title, unit, figures, chart, isFresh = false } = options;
  return {
    id,
    title,
    entries({ scale, peers, arePicked }) {
      const isQuick = scale.name !== "full" && !arePicked;
      const wanted = isQuick ? (options.quickPeers ?? options.peers) : options.peers;
      return peers.filter((peer) => wanted.includes(peer)).flatMap((peer) => options.entries(scale, peer));
    },
    async run(run, entries) {
      const { scale, stages } = run;
      const subjects = isFresh ? entries : await stages.openAll(run, entries);
      const plan = { ...scale, ...options.rounds?.(scale) };
      const measure = async (entry: Entry): Promise<Round> => {
        if (!isFresh) return options.measure(stages.get(entry), scale, entry);
        const stage = await Stage.start(PEERS[entry.peer], entry.crowd, stages.options);
        try {
          return await options.measure(stage, scale, entry);
        } finally {
          await stage.stop();
        }
      };
      const fallen = new Set<Entry>();
      /** Undefined for a contender that has failed: it is left out, and the others go on. */
      const attempt = async (entry: Entry): Promise<Round | undefined> => {
        if (fallen.has(entry)) return undefined;
        try {
          return await measure(entry);
        } catch (error) {
          if (isIndispensable(entry.peer)) throw error;
          fallen.add(entry);
          run.skip(entry.peer, `${id}: ${error instanceof Error ? error.message : String(error)}`);
          return undefined;
        }
      };
      const results = await interleave(subjects, plan, attempt, (round) => round?.[DISTURBED] ?? 0);
      const entrants = [...results]
        .filter(([entry]) => !fallen.has(entry))
        .map(([{ key, name }, rounds]) => ({ key, name, rounds: rounds.filter(isMeasured) }));
      return { id, title, unit, figures, ...(chart === undefined ? {} : { chart }), entrants };
    },
  };
}

/** Ours, and what we are compared with: without them there is no result. */
function isIndispensable(peer: PeerKey): boolean {
  return isOurs(peer) || peer === "socket.io";
}

function isMeasured(round: Round | undefined): round is Round {
  return round !== undefined;
}

/** One entry for a contender, with the crowd that is known by that key. */
export function sole(peer: PeerKey, crowdKey: string, crowd: Crowd): readonly Entry[] {
  return [{ key: peer, name: PEERS[peer].name, peer, crowd, crowdKey }];
}

/** How many messages a contender is given. */
export function paced(peer: Peer, messages: number): number {
  return Math.max(2, Math.round(messages / peer.slowness));
}

/** How many stages are started at the same time. */
const AT_ONCE = 2;

/** The stages that are open; scenarios after one another may share them. */
export class Stages {
  readonly options: StageOptions;
  readonly #open = new Map<string, Stage>();

  constructor(options: StageOptions = {}) {
    this.options = options;
  }

  /**
   * Contenders that cannot be started are skipped, but not ours, nor what we are compared with.
   *
   * @returns those that can, in their order
   */
  async openAll(run: Run, entries: readonly Entry[]): Promise<readonly Entry[]> {
    const waiting = new Map(entries.map((entry) => [place(entry), entry]));
    const lane = async () => {
      for (const [key, entry] of waiting) {
        waiting.delete(key);
        if (!this.#open.has(key)) await this.#start(run, entry);
      }
    };
    const lanes = await Promise.allSettled(Array.from({ length: AT_ONCE }, lane));
    for (const ended of lanes) if (ended.status === "rejected") throw ended.reason;
    return entries.filter((entry) => this.#open.has(place(entry)));
  }

  async #start(run: Run, entry: Entry): Promise<void> {
    try {
      this.#open.set(place(entry), await Stage.start(PEERS[entry.peer], entry.crowd, this.options));
    } catch (error) {
      if (isIndispensable(entry.peer)) throw error;
      run.skip(entry.peer, String(error));
    }
  }

  get(entry: Entry): Stage {
    const stage = this.#open.get(place(entry));
    if (stage === undefined) throw new Error(`no stage for ${entry.name}`);
    return stage;
  }

  /** Closes all but those of these entries. */
  async keep(entries: readonly Entry[]): Promise<void> {
    const kept = new Set(entries.map(place));
    const gone = [...this.#open].filter(([key]) => !kept.has(key));
    for (const [key] of gone) this.#open.delete(key);
    await Promise.all(gone.map(([, stage]) => stage.stop()));
  }
}

function place({ peer, crowdKey }: Entry): string {
  return `${peer} ${crowdKey}`;
}
