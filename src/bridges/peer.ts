import { ConfigurationError } from "../index.ts";

/**
 * Loads a carrier's package, which is installed only by those who use it.
 *
 * @throws ConfigurationError that says what to install
 */
export async function peer<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isMissing = code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND";
    // In quotes: what is missing may also be a file of the package, and then its path has the name in it.
    if (!isMissing || !message.includes(`'${name}'`)) throw error;
    throw new ConfigurationError([`the package ${name} is not installed; run npm install ${name}`]);
  }
}
