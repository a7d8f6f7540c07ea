import { randomBytes } from "node:crypto";

const ID = /^([A-Za-z0-9_-]{1,40})\.[A-Za-z0-9_-]{1,60}$/;

/** `<queue>.<text nobody can guess>`: says where to look. */
export function newJobId(queue: string): string {
  return `${queue}.${randomBytes(15).toString("base64url")}`;
}

export function isJobId(id: unknown): id is string {
  return typeof id === "string" && ID.test(id);
}
