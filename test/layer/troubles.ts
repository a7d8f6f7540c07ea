import type { Backplane, BackplaneListener } from "sluice";

/** Lets a test tell the layer over a backplane that the others cannot be reached, though they can. */
export function troubles(backplane: Backplane) {
  let listener: BackplaneListener | undefined;
  const { open } = backplane;
  backplane.open = (given) => {
    listener = given;
    return open.call(backplane, given);
  };
  const heard = (): BackplaneListener => {
    if (listener === undefined) throw new Error("nobody listens to this backplane yet");
    return listener;
  };
  return {
    down: (reason: string) => heard().down(reason),
    up: () => heard().up(),
    /** As each node's connection does now and then. */
    flicker() {
      heard().down("for a moment");
      heard().up();
    },
  };
}
