import { describe, expect, test } from "@jest/globals";
import { Holes, Numbering } from "../../src/redis/numbering.ts";

describe("the numbers of a sender", () => {
  test("count the texts of each topic by itself", () => {
    const numbering = new Numbering();
    expect(numbering.take("a", 2)).toEqual({ stream: 1, first: 0 });
    expect(numbering.take("b", 1)).toEqual({ stream: 2, first: 0 });
    expect(numbering.take("a", 1)).toEqual({ stream: 1, first: 2 });
  });

  test("are forgotten for the topic not used for longest, and then begin a new stream", () => {
    const numbering = new Numbering();
    for (let i = 0; i < 10_000; i++) numbering.take(`t${i}`, 1);
    numbering.take("t0", 1);
    numbering.take("one more", 1);
    expect(numbering.take("t0", 1)).toEqual({ stream: 1, first: 2 });
    expect(numbering.take("t1", 1)).toEqual({ stream: 10_002, first: 0 });
  });
});

describe("what a listener finds", () => {
  test("a hole, what it knows already, and both in part", () => {
    const holes = new Holes();
    expect(holes.hear("t", "ann", 1, 7, 3)).toEqual({ known: 0, missed: 0 });
    expect(holes.hear("t", "ann", 1, 10, 1)).toEqual({ known: 0, missed: 0 });
    expect(holes.hear("t", "ann", 1, 14, 2)).toEqual({ known: 0, missed: 3 });
    expect(holes.hear("t", "ann", 1, 14, 2)).toEqual({ known: 2, missed: 0 });
    expect(holes.hear("t", "ann", 1, 15, 3)).toEqual({ known: 1, missed: 0 });
    expect(holes.hear("t", "ann", 1, 2, 3)).toEqual({ known: 3, missed: 0 });
    expect(holes.hear("t", "ann", 1, 18, 1)).toEqual({ known: 0, missed: 0 });
  });

  test("senders, topics and streams are apart; a new stream begins at 0", () => {
    const holes = new Holes();
    holes.hear("t", "ann", 1, 0, 5);
    expect(holes.hear("t", "bob", 1, 9, 1)).toEqual({ known: 0, missed: 0 });
    expect(holes.hear("u", "ann", 1, 9, 1)).toEqual({ known: 0, missed: 0 });
    expect(holes.hear("t", "ann", 2, 2, 1)).toEqual({ known: 0, missed: 2 });
    expect(holes.hear("t", "ann", 2, 3, 1)).toEqual({ known: 0, missed: 0 });
  });

  test("a topic that was closed meanwhile misses nothing, and nothing is kept of it", () => {
    const holes = new Holes();
    holes.hear("t", "ann", 1, 0, 1);
    holes.forget("t");
    expect(holes.size).toBe(0);
    expect(holes.hear("t", "ann", 1, 50, 1)).toEqual({ known: 0, missed: 0 });
  });

  test("a thousand senders are remembered, the oldest goes first", () => {
    const holes = new Holes();
    for (let i = 0; i <= 1_000; i++) holes.hear("t", `n${i}`, 1, 0, 1);
    expect(holes.hear("t", "n1000", 1, 0, 1)).toEqual({ known: 1, missed: 0 });
    expect(holes.hear("t", "n0", 1, 5, 1)).toEqual({ known: 0, missed: 0 });
  });
});
