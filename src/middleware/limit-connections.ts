import {
  addressKey,
  ConfigurationError,
  type MarkedMiddleware,
  mark,
  RateLimited,
  type Scope,
} from "../index.ts";

export interface LimitConnectionsOptions {
  /** Connections that one user may have open, on this node, to the routes that share this middleware. */
  readonly perUser?: number;
  /** The same by address; the addresses of one IPv6 network count as one. */
  readonly perAddress?: number;
}

/**
 * Refuses who has too many connections open already, with 4529 (come back later). Counted on each node by
 * itself; a request of an `http` route counts while it is answered.
 *
 * @throws ConfigurationError for a wrong limit, or none
 */
export function limitConnections(
  options: LimitConnectionsOptions & { readonly perUser: number },
): MarkedMiddleware<object, { readonly user: unknown }>;
export function limitConnections(options: LimitConnectionsOptions): MarkedMiddleware<object>;
export function limitConnections({ perUser, perAddress }: LimitConnectionsOptions): MarkedMiddleware<object> {
  const given = Object.entries({ perUser, perAddress }).filter(([, limit]) => limit !== undefined);
  const faults = given
    .filter(([, limit]) => !Number.isSafeInteger(limit) || (limit as number) < 1)
    .map(([name]) => `limitConnections.${name} must be a whole number of at least 1`);
  if (given.length === 0) faults.push("limitConnections needs a limit: perUser, perAddress or both");
  if (faults.length > 0) throw new ConfigurationError(faults);
  const open = new Map<string, number>();
  const keysOf = ({ user, remoteAddress, connection }: Scope): [string, number][] => {
    const id = perUser === undefined ? undefined : connection.userId(user);
    return [
      ...(id === undefined ? [] : [[`user ${id}`, perUser as number] as [string, number]]),
      ...(perAddress === undefined
        ? []
        : [[`address ${addressKey(remoteAddress)}`, perAddress] as [string, number]]),
    ];
  };
  const requires = perUser === undefined ? [] : ["user"];
  return mark({ requires }, function limitConnections(scope, next) {
    const keys = keysOf(scope);
    if (keys.some(([key, limit]) => (open.get(key) ?? 0) >= limit)) {
      throw new RateLimited("too many connections at once; close others first");
    }
    if (scope.closed.aborted) return next();
    for (const [key] of keys) open.set(key, (open.get(key) ?? 0) + 1);
    const leave = () => {
      for (const [key] of keys) {
        const left = (open.get(key) ?? 1) - 1;
        if (left > 0) open.set(key, left);
        else open.delete(key);
      }
    };
    scope.closed.addEventListener("abort", leave, { once: true });
    return next();
  });
}
