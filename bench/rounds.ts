/** In which order things are measured. */

export interface Plan {
  /** Rounds that are thrown away, until compilers and caches are warm. */
  readonly warmUps: number;
  readonly rounds: number;
}

/**
 * Measures each of the subjects once a round, in turn (A B, B A, A B, ...), so that whatever else the
 * machine does hits all of them alike.
 *
 * @returns what was measured, one list per subject, in the order of the rounds
 */
export async function interleave<Subject, Result>(
  subjects: readonly Subject[],
  { warmUps, rounds }: Plan,
  measure: (subject: Subject) => Promise<Result>,
): Promise<Map<Subject, Result[]>> {
  const results = new Map<Subject, Result[]>(subjects.map((subject) => [subject, []]));
  for (let round = 0; round < warmUps + rounds; round += 1) {
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      const result = await measure(subject);
      if (round >= warmUps) results.get(subject)?.push(result);
    }
  }
  return results;
}
