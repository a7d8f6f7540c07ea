import { createHash } from "node:crypto";
import { deny, type Middleware } from "sluice";
import { z } from "zod";
import { Name, type Person } from "../consumers/person.ts";

const Secret = z.string().min(20).max(100);

/**
 * Takes everybody who has a name. Who somebody is, a secret says that their browser keeps: it makes all its
 * tabs one person. Others see no more of it than its hash, so nobody can pose as somebody they have met.
 */
export const guest: Middleware = (scope, next) => {
  const name = Name.safeParse(scope.auth.name);
  const secret = Secret.safeParse(scope.auth.secret);
  if (!name.success) return deny(4400, "Choose a name of 1 to 40 characters.");
  if (!secret.success) return deny(4400, "Send a secret of 20 to 100 characters that only you know.");
  const id = createHash("sha256").update(secret.data).digest("base64url");
  return next({ user: { id, name: name.data } satisfies Person });
};

/** What others see of a guest who is here. */
export function guestInfo(user: unknown): Pick<Person, "name"> {
  return { name: (user as Person).name };
}
