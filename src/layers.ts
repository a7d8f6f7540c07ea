/** The channel layers of an application: the one that everybody uses, and others by name. */
import type { Clock } from "./clock.ts";
import { ConfigurationError, type Faults } from "./errors.ts";
import type { Facts, UnopenedFact } from "./facts.ts";
import { ChannelLayer, type ChannelLayerOptions } from "./layer/channel-layer.ts";
import { type GroupPolicies, PolicyTable } from "./layer/group-policy.ts";
import type { HistoryStore } from "./layer/history-store.ts";
import { MemoryBackplane } from "./layer/memory-backplane.ts";
import { MemoryHistory } from "./layer/memory-history.ts";
import { MemoryPresence } from "./layer/memory-presence.ts";
import type { PresenceStore } from "./layer/presence-store.ts";
import { Receipts } from "./layer/receipts.ts";
import { SealedBackplane } from "./layer/sealed-backplane.ts";
import { SealedHistory } from "./layer/sealed-history.ts";
import { SealedPresence } from "./layer/sealed-presence.ts";
import type { ApplicationSettings } from "./options.ts";
import type { Seal } from "./sealing.ts";
import type { Tally } from "./tally.ts";
import type { Tracer } from "./tracer.ts";
import type { Backplane } from "./types.ts";

/** What one layer stands on. */
export interface LayerOptions {
  /** What carries groups between nodes; by default this process is the only node. */
  readonly backplane?: Backplane;
  /** What groups keep, by patterns of their names; the same in every process that sends to them. */
  readonly groups?: GroupPolicies;
  /** Keeps what groups with history are sent; by default this process does, if it is the only node. */
  readonly history?: HistoryStore;
  /** Knows who is in groups with presence; by default this process is the only node. */
  readonly presence?: PresenceStore;
}

/** The layer of an application that has no name of its own. */
export const DEFAULT_LAYER = "default";

export interface LayersContext {
  /** By which users are held who have no connection for a while. */
  readonly clock: Clock | undefined;
  readonly node: string;
  readonly facts: Facts;
  readonly limits: ApplicationSettings["limits"];
  readonly tally: Tally;
  readonly tracer: Tracer | undefined;
  /** For a carrier with that prefix. */
  seal(carrier: UnopenedFact["carrier"], prefix: string | undefined): Seal;
  /** Whether there are keys. */
  readonly hasKeys: boolean;
}

/** What a layer will be made of, once all options have been looked at. */
type Plan = Pick<ChannelLayerOptions, "backplane" | "history"> & {
  readonly policies: PolicyTable;
  readonly presence: { readonly policies: PolicyTable; readonly store: PresenceStore } | undefined;
};

/** Looks at the options of all layers, and makes none yet. */
export function planLayers(
  layers: Readonly<Record<string, LayerOptions>>,
  secrets: readonly string[],
  faults: Faults,
): ReadonlyMap<string, Plan> {
  const plans = new Map<string, Plan>();
  const taken = new Map<unknown, string>();
  for (const [name, options] of Object.entries(layers)) {
    const plan = faults.collect(() => planOf(options, secrets));
    if (plan !== undefined) plans.set(name, plan);
    for (const [what, store] of Object.entries(options)) {
      if (what === "groups" || store === undefined) continue;
      const other = taken.get(store);
      taken.set(store, name);
      if (other !== undefined) {
        faults.list.push(`the layers "${other}" and "${name}" have the same ${what}; make one for each`);
      }
    }
  }
  return plans;
}

/** Whether any of them has nodes in other processes. */
export function leaveProcess(plans: ReadonlyMap<string, Plan>): boolean {
  return [...plans.values()].some(({ backplane }) => !(backplane instanceof MemoryBackplane));
}

/**
 * What is encrypted is bound to its prefix, not to the server that it lies on: with one prefix, whoever can write to
 * both could take it from one layer to the other.
 */
export function samePlaces(plans: ReadonlyMap<string, Plan>): readonly string[] {
  const taken = new Map<string, string>();
  return [...plans].flatMap(([name, { backplane, history, presence }]) =>
    Object.entries({ backplane, history: history?.store, presence: presence?.store }).flatMap(
      ([what, { prefix } = {}]) => {
        if (prefix === undefined) return [];
        const place = `${what} ${prefix}`;
        const other = taken.get(place);
        taken.set(place, name);
        if (other === undefined) return [];
        return [
          `the layers "${other}" and "${name}" have a ${what} with the prefix "${prefix}" each; with encryptionKeys give them different prefixes, or what is encrypted for one opens in the other`,
        ];
      },
    ),
  );
}

export function createLayers(
  plans: ReadonlyMap<string, Plan>,
  { node, facts, limits, clock, tally, tracer, ...sealing }: LayersContext,
): ReadonlyMap<string, ChannelLayer> {
  const { maxMessageBytes } = limits;
  return new Map(
    [...plans].map(([name, clear]) => {
      const { presence, ...plan } = sealed(clear, sealing);
      const present = presence && { presence: { ...presence, limits, clock } };
      const given = { name, node, facts, tally, tracer, maxMessageBytes };
      return [name, new ChannelLayer({ ...given, ...plan, ...present })];
    }),
  );
}

/** Also without keys: what others have encrypted is then told. What is this process' own stays as it is. */
function sealed(
  { backplane, history, presence }: Omit<Plan, "policies">,
  { seal, hasKeys }: Pick<LayersContext, "seal" | "hasKeys">,
): Omit<Plan, "policies"> {
  const isSealed = (isOwn: boolean) => hasKeys || !isOwn;
  const who = seal("presence", presence?.store.prefix ?? history?.store.prefix);
  const log = seal("history", history?.store.prefix);
  const store =
    history && isSealed(!history.store.isShared)
      ? new SealedHistory(history.store, log, who)
      : history?.store;
  return {
    backplane: isSealed(backplane instanceof MemoryBackplane)
      ? new SealedBackplane(backplane, seal("backplane", backplane.prefix))
      : backplane,
    ...(history && store ? { history: { ...history, store } } : {}),
    presence:
      presence && isSealed(presence.store instanceof MemoryPresence)
        ? { ...presence, store: new SealedPresence(presence.store, who) }
        : presence,
  };
}

function planOf(
  { backplane = new MemoryBackplane(), groups = {}, history, presence }: LayerOptions,
  secrets: readonly string[],
): Plan {
  const policies = new PolicyTable(groups);
  const log = historyOf(policies, history, secrets, backplane);
  return { backplane, policies, ...log, presence: presenceOf(policies, presence, backplane) };
}

/** What the layer needs for groups with history; nothing if there are none. */
function historyOf(
  policies: PolicyTable,
  given: HistoryStore | undefined,
  secrets: readonly string[],
  backplane: Backplane,
): Pick<ChannelLayerOptions, "history"> {
  if (!policies.needs.history) return {};
  const store = given ?? (backplane instanceof MemoryBackplane ? new MemoryHistory() : undefined);
  if (store === undefined) {
    throw new ConfigurationError([
      "groups with history on several nodes need a store that all of them share: option history, e.g. history: new RedisHistory({ url })",
    ]);
  }
  if (store.isShared && secrets.length === 0) {
    throw new ConfigurationError([
      "nodes that share a history need a `secret` that all of them know (SLUICE_SECRET); make one by: openssl rand -base64 48",
    ]);
  }
  return { history: { store, policies, receipts: new Receipts(secrets) } };
}

function presenceOf(
  policies: PolicyTable,
  store: PresenceStore | undefined,
  backplane: Backplane,
): Plan["presence"] {
  if (!policies.needs.presence) return undefined;
  if (store !== undefined) return { policies, store };
  if (backplane instanceof MemoryBackplane) return { policies, store: new MemoryPresence() };
  throw new ConfigurationError([
    "groups with presence on several nodes need a store that all of them share: option presence, e.g. presence: new RedisPresence({ url })",
  ]);
}
