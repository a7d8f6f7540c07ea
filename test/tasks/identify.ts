import type { Middleware } from "sluice";

/** Believes what a client says of itself. */
export const identify: Middleware = (scope, next) => {
  const { user } = scope.auth as { readonly user?: string };
  return user === undefined ? next() : next({ user });
};
