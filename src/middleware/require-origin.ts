import { CloseCode, deny, type MarkedMiddleware, mark, Origins } from "../index.ts";

/** Whom {@link requireOrigin} lets in beside pages of the named origins. */
export interface RequireOriginOptions {
  /** Whether who sends no Origin may come in, as programs and pages' own GET requests do. Default false. */
  readonly allowMissing?: boolean;
}

/**
 * Refuses pages of other origins with 4403, by the rules that the server's option `origins` has: for routes
 * that are stricter than the server. A page of the server's own origin always may.
 *
 * @throws ConfigurationError that lists every rule it cannot read
 * @example
 * include("/admin", adminRoutes, { middleware: [requireOrigin(["https://admin.example"])] });
 */
export function requireOrigin(
  rules: readonly string[],
  { allowMissing = false }: RequireOriginOptions = {},
): MarkedMiddleware<object> {
  const origins = new Origins(rules, allowMissing);
  return mark({}, function requireOrigin({ headers }, next) {
    return origins.allows(headers.origin, headers.host)
      ? next()
      : deny(CloseCode.forbidden, "this origin may not connect");
  });
}
