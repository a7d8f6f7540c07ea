/** Packages that are installed only by those who use what needs them. */
import { createRequire } from "node:module";
import { ConfigurationError } from "./errors.ts";

/** @throws ConfigurationError that says what to install */
export async function peer<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    throw told(name, error);
  }
}

/** The same for packages that can be loaded at once. */
export function peerNow<T>(name: string): T {
  try {
    return createRequire(import.meta.url)(name) as T;
  } catch (error) {
    throw told(name, error);
  }
}

function told(name: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  const isMissing = code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
  // In quotes: what is missing may also be a file of the package, and then its path has the name in it.
  if (!isMissing || !message.includes(`'${name}'`)) return error;
  return new ConfigurationError([`the package ${name} is not installed; run npm install ${name}`]);
}
