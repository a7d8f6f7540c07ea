import { randomFillSync } from "node:crypto";

/** Asking the system costs more than all the rest of an id; so it is asked for many at once. */
const pool = Buffer.alloc(4_096);
let used = pool.length;

/** Text that names rules accept and nobody can guess. */
export function randomId(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const id = pool.toString("base64url", used, used + bytes);
  pool.fill(0, used, used + bytes);
  used += bytes;
  return id;
}
