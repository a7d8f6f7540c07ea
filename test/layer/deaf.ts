import type { BackplaneListener } from "sluice";

/** A listener that does not care. */
export const deaf: BackplaneListener = {
  hear() {},
  dropped() {},
  unheard() {},
  lost() {},
  down() {},
  up() {},
};
