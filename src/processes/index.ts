export { Colleague } from "./colleague.ts";
export { Crew, CrewFailed, type CrewOptions } from "./crew.ts";
export { FrontDoor, type FrontDoorOptions, type Host } from "./front-door.ts";
export { Membership } from "./membership.ts";
export { ProcessBackplane, type ProcessBackplaneOptions } from "./process-backplane.ts";
export { ProcessHub } from "./process-hub.ts";
export { Siblings } from "./siblings.ts";
