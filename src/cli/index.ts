/** What a program that `sluice start` runs may import from `sluice/cli`: types. */
export type { Compose, ComposeContext } from "./compose.ts";
