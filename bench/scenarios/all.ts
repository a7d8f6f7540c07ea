/** In the order in which they are run: those that share their stages stand beside each other. */
import { across } from "./across.ts";
import { accept, memory, storm } from "./connections.ts";
import { fanOuts, largeFanOut } from "./fan-out.ts";
import { installedSize, startUp } from "./package.ts";
import { echo, shootout } from "./questions.ts";
import type { Scenario } from "./scenario.ts";
import { soak } from "./soak.ts";

export const SCENARIOS: readonly Scenario[] = [
  ...fanOuts,
  echo,
  shootout,
  largeFanOut,
  storm,
  accept,
  memory,
  ...across,
  startUp,
  installedSize,
  soak,
];
