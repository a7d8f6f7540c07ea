import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import express, { Router } from "express";

const { resolve } = createRequire(import.meta.url);
const publicFolder = join(dirname(resolve("sluice/package.json")), "public");

/** Everything comes from this server, and nothing is inline: text of users can never become a script. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
  "connect-src 'self' ws: wss:",
  "img-src 'self' data:",
  "base-uri 'none'",
  "frame-ancestors 'none'",
  "object-src 'none'",
  "form-action 'self'",
].join("; ");

/**
 * The demo's pages: the lobby at `/`, a room at `/rooms/<room>`, and what they load of `sluice/client`.
 *
 * @param options - `clientFolder`: where that is; by default as the package was built
 */
export function pages({ clientFolder = dirname(resolve("sluice/client")) } = {}): Router {
  const router = Router();
  router.use((_request, response, next) => {
    response.set({
      "Content-Security-Policy": CONTENT_SECURITY_POLICY,
      "Referrer-Policy": "same-origin",
      "X-Content-Type-Options": "nosniff",
    });
    next();
  });
  router.use(express.static(publicFolder));
  router.use("/sluice/client", express.static(clientFolder));
  router.get("/rooms/:room", (_request, response) => response.sendFile("room.html", { root: publicFolder }));
  return router;
}
