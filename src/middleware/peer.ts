import { createRequire } from "node:module";
import { ConfigurationError } from "../index.ts";

/**
 * Loads a package that is installed only by those who use it.
 *
 * @throws ConfigurationError that says what to install
 */
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
  if (!isMissing || !message.includes(name)) return error;
  return new ConfigurationError([`the package ${name} is not installed; run npm install ${name}`]);
}
