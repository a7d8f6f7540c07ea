/** Time as the whole house has it; the name by which this room asks for it. */
export { type Clock, type ClockTimer, realClock } from "../index.ts";
