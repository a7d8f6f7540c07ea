/** A NestJS gateway. */
import { EVENT } from "../messages.ts";
import { NAMESPACE } from "../wires.ts";
import { contend } from "./contender.ts";
import { loadGateway } from "./nest-gateway.ts";
import { Say } from "./say.ts";

const createGateway = await loadGateway();

contend(createGateway({ namespace: NAMESPACE, event: EVENT, check: (payload) => Say.parse(payload) }));
