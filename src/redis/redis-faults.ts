/** What the `redis` package throws, in words that say what to do. */
import { ConfigurationError, LayerUnavailable } from "../errors.ts";
import { describeTarget, type RedisTarget } from "./redis-options.ts";
import { isErrorReply } from "./redis-package.ts";

/** What somebody who uses Redis must be allowed there. */
export interface RedisRights {
  /** Names of keys or channels, as `ACL SETUSER` takes them: `resetkeys ~shop:*`. */
  readonly names: string;
  /** In lower case. */
  readonly commands: readonly string[];
  /** In a cluster also these. */
  readonly inCluster?: readonly string[];
}

/** As `ACL SETUSER` takes it. It only adds commands, for what else the user does needs others. */
function neededAcl({ at }: RedisTarget, { names, commands, inCluster = [] }: RedisRights): string {
  const all = ["hello", ...commands, ...(at.kind === "cluster" ? ["cluster|slots", ...inCluster] : [])];
  return [names, ...all.map((command) => `+${command}`)].join(" ");
}

/** What an error says that stands for silence. */
export const NO_ANSWER = "no answer";
/** The same in the words of the `redis` package, whose limit is as long as ours: either may come first. */
const CLIENT_NO_ANSWER = "Connection timeout";

/** What Redis answers while it starts, or while a cluster or its sentinels choose another master. */
const PASSING = /^(LOADING|MASTERDOWN|CLUSTERDOWN|MOVED|ASK|TRYAGAIN|READONLY)\b/;

/** Redis' own words for it, and those of scripts in 7.0 and since 7.2. */
const NO_RIGHT = /^NOPERM|user executing the script can't|ACL failure in script/;

/** What Redis answers while it can write nothing: full, its disk too, its replicas gone, or a script in its way. */
const UNABLE = /^(OOM|MISCONF|NOREPLICAS|BUSY)\b/;

/** Whether Redis refuses a command now but may take it later; the connection is of use all the same. */
export function isUnable(error: unknown): boolean {
  return isErrorReply(error) && UNABLE.test(error.message);
}

/** Whether Redis refuses a command for good; anything else is trouble with the connection. */
export function isRefusal(error: unknown): boolean {
  return isErrorReply(error) && !PASSING.test(error.message);
}

/** Whether Redis refuses a command because of who asks. */
export function isRightLacking(error: unknown): boolean {
  return isErrorReply(error) && NO_RIGHT.test(error.message);
}

/** Why something that needs Redis cannot begin. */
export function startFault(error: unknown, target: RedisTarget, rights: RedisRights): ConfigurationError {
  return new ConfigurationError([reasonOf(error, target, rights)]);
}

/** What is wrong, for people; never a password. */
export function reasonOf(error: unknown, target: RedisTarget, rights: RedisRights): string {
  const isWrapped = error instanceof LayerUnavailable && error.cause instanceof Error;
  const cause = (isWrapped ? error.cause : error) as Error;
  return `${describeTarget(target)}: ${faultOf(cause, target, rights)}`;
}

function faultOf(
  error: Error & { readonly code?: string },
  target: RedisTarget,
  rights: RedisRights,
): string {
  const { message, code = "" } = error;
  if (/^WRONGPASS|invalid password/i.test(message)) {
    return "the user or the password is wrong; check REDIS_PASSWORD (or `password`), and the user if Redis has ACLs";
  }
  if (/^NOAUTH/.test(message)) return "it wants a password; set REDIS_PASSWORD (or `password`)";
  if (/AUTH.*without any password configured/.test(message)) {
    return "it has no password but was given one; leave it out, or set one in Redis (requirepass)";
  }
  if (NO_RIGHT.test(message)) {
    const user = target.username ?? "default";
    return `the user "${user}" may not do what is needed; allow it: ACL SETUSER ${user} ${neededAcl(target, rights)}`;
  }
  if (UNABLE.test(message)) return `it can write nothing now (${message})`;
  if (/unknown command/i.test(message)) {
    return `it is too old or lacks commands (${message}); Redis 7.0 or newer, or Valkey, is needed`;
  }
  if (/^(MOVED|CROSSSLOT|CLUSTERDOWN)/.test(message) && target.at.kind !== "cluster") {
    return "it is part of a cluster; give the cluster's nodes (redis+cluster://host:port,host:port)";
  }
  if (/cluster support disabled/i.test(message)) {
    return "it is no cluster; give it as a single server (redis://host:port)";
  }
  if (
    target.at.kind === "sentinel" &&
    /(no such master|null|Must wait|None of the sentinels)/i.test(message)
  ) {
    return `the sentinels know no master "${target.at.master}"; check the name, and their addresses`;
  }
  const where = "check host and port, and that Redis runs and listens there";
  if (code === "ECONNREFUSED") return `nothing answers (connection refused); ${where}`;
  if (code === "ENOENT") return "there is no such socket; check the path, and `unixsocket` in redis.conf";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return `the host is unknown; ${where}`;
  if (/wrong version number|packet length too long|EPROTO/i.test(message + code)) {
    return "it does not speak TLS there; use redis:// or its TLS port";
  }
  if (/certificate|CERT|altname/i.test(message + code)) {
    return `its certificate is not trusted (${message}); give the authority's as tls.ca (REDIS_CA_FILE)`;
  }
  if (message === NO_ANSWER || message === CLIENT_NO_ANSWER) {
    return `it does not answer; ${where}${target.tls === undefined ? "" : ", and that it speaks TLS there"}`;
  }
  return `it cannot be reached (${message || code || "no reason given"}); ${where}`;
}
