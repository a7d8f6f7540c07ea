import { z } from "zod";

/** What clients may say, where it is checked. */
export const Say = z.object({ n: z.string().max(20), text: z.string().max(1_000) });
