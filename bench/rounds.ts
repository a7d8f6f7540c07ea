/** In which order things are measured, and what is measured again. */

export interface Plan {
  /** Rounds that are thrown away, until compilers and caches are warm. */
  readonly warmUps: number;
  readonly rounds: number;
  /** How often a disturbed measurement is made again at once. */
  readonly repeats?: number;
  /** No new round begins after that, once there are two. */
  readonly limitMs?: number;
}

const FEWEST_ROUNDS = 2;

/**
 * Measures each of the subjects once a round, in turn (A B, B A, A B, ...), so that whatever else the
 * machine does hits all of them alike. A measurement that was disturbed is thrown out and made again within
 * its round; if that does not help, the least disturbed one counts.
 *
 * @param disturbed - of a result, more than 1 if it was
 * @returns what was measured, one list per subject, in the order of the rounds
 */
export async function interleave<Subject, Result>(
  subjects: readonly Subject[],
  { warmUps, rounds, repeats = 2, limitMs = Number.POSITIVE_INFINITY }: Plan,
  measure: (subject: Subject) => Promise<Result>,
  disturbed: (result: Result) => number = () => 0,
): Promise<Map<Subject, Result[]>> {
  const results = new Map<Subject, Result[]>(subjects.map((subject) => [subject, []]));
  const startedAt = performance.now();
  const isLate = () => performance.now() - startedAt > limitMs;
  for (let round = 0; round < warmUps + rounds; round += 1) {
    if (round >= warmUps + FEWEST_ROUNDS && isLate()) break;
    const isKept = round >= warmUps;
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      let best = await measure(subject);
      for (let again = 0; isKept && disturbed(best) > 1 && again < repeats && !isLate(); again += 1) {
        const result = await measure(subject);
        if (disturbed(result) < disturbed(best)) best = result;
      }
      if (isKept) results.get(subject)?.push(best);
    }
  }
  return results;
}
