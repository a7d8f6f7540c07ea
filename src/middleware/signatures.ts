/** Signed values of cookies, in the form of `cookie-parser` and `express-session`: `s:value.signature`. */
import { createHmac } from "node:crypto";
import { isSameSignature } from "../index.ts";

/** What a signed cookie says; undefined if nobody with one of the secrets has signed it. */
export function unsignedCookie(cookie: string | undefined, secrets: readonly string[]): string | undefined {
  if (!cookie?.startsWith("s:")) return undefined;
  const dot = cookie.lastIndexOf(".");
  if (dot < 2) return undefined;
  const [value, shown] = [cookie.slice(2, dot), cookie.slice(dot + 1)];
  return secrets.some((secret) => isSameSignature(shown, signatureOf(value, secret))) ? value : undefined;
}

export function signatureOf(value: string, secret: string): string {
  return createHmac("sha256", secret).update(value).digest("base64").replace(/=+$/, "");
}
