/** The gateway of `nest.ts`: it listens, says what that has cost, and ends. */
import { EVENT } from "../messages.ts";
import { NAMESPACE } from "../wires.ts";
import { loadGateway } from "./nest-gateway.ts";
import { tellStart } from "./tell-start.ts";

const createGateway = await loadGateway();
await createGateway({ namespace: NAMESPACE, event: EVENT, check: (payload) => payload }).start();
tellStart();
