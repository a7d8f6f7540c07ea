/** @throws Error that names the option */
export function atLeastOne(name: string, given: string | number): number {
  const value = Number(given);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`${name} must be a whole number of at least 1, not "${given}"`);
}

/** Numbers with commas between them. */
export function eachAtLeastOne(name: string, given: string): readonly number[] {
  return given.split(",").map((part) => atLeastOne(name, part));
}

/** Names with commas between them, all of them known. */
export function eachOneOf<T extends string>(name: string, given: string, known: readonly T[]): readonly T[] {
  return given.split(",").map((part) => {
    const found = known.find((one) => one === part);
    if (found !== undefined) return found;
    throw new Error(`${name} must be some of ${known.join(", ")}, not "${part}"`);
  });
}
