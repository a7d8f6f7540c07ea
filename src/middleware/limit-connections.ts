import {
  addressKey,
  ConfigurationError,
  type MarkedMiddleware,
  mark,
  RateLimited,
  type Scope,
} from "../index.ts";

/** How many connections {@link limitConnections} lets in. */
export interface LimitConnectionsOptions {
  /** Connections that one user may have open to the routes that share this middleware. */
  readonly perUser?: number;
  /** The same by address; the addresses of one IPv6 network count as one. */
  readonly perAddress?: number;
  /**
   * What all nodes know it by. In lists of middleware its place there says it; needed if a middleware of yours calls
   * it, or each node counts by itself.
   */
  readonly name?: string;
}

/**
 * Refuses who has too many connections open already, with 4529 (come back later). They are counted over all nodes if
 * the application has `sharedLimits`, and else, or while these are away, by each node. A request of an `http` route
 * counts while it is answered.
 *
 * @throws ConfigurationError for a wrong limit, or none
 */
export function limitConnections(
  options: LimitConnectionsOptions & { readonly perUser: number },
): MarkedMiddleware<object, { readonly user: unknown }>;
export function limitConnections(options: LimitConnectionsOptions): MarkedMiddleware<object>;
export function limitConnections({
  perUser,
  perAddress,
  name,
}: LimitConnectionsOptions): MarkedMiddleware<object> {
  const given = Object.entries({ perUser, perAddress }).filter(([, limit]) => limit !== undefined);
  const faults = given
    .filter(([, limit]) => !Number.isSafeInteger(limit) || (limit as number) < 1)
    .map(([name]) => `limitConnections.${name} must be a whole number of at least 1`);
  if (given.length === 0) faults.push("limitConnections needs a limit: perUser, perAddress or both");
  if (name !== undefined && (typeof name !== "string" || name === "")) {
    faults.push("limitConnections.name must be text");
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
  const roomsOf = ({ user, remoteAddress, connection }: Scope): [string, number][] => {
    const id = perUser === undefined ? undefined : connection.userId(user);
    return [
      ...(id === undefined ? [] : [[`user ${id}`, perUser as number] as [string, number]]),
      ...(perAddress === undefined
        ? []
        : [[`address ${addressKey(remoteAddress)}`, perAddress] as [string, number]]),
    ];
  };
  const requires = perUser === undefined ? [] : ["user"];
  const limit = mark<object>({ requires }, async function limitConnections(scope, next) {
    for (const [room, seats] of roomsOf(scope)) {
      // What it has taken by then it has until it is refused.
      if (await scope.connection.sit(name ?? limit, room, seats)) continue;
      throw new RateLimited("too many connections at once; close others first");
    }
    return next();
  });
  return limit;
}
