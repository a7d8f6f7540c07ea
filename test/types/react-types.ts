/** Type tests, as in consumer-types.ts. */
import type { ClientEvents, ServerEvents } from "sluice";
import { createSocketHooks } from "sluice/react";
import { io, type Socket } from "socket.io-client";

interface Chat {
  receives: { say: { text: string } };
  sends: { said: { text: string }; cleared: undefined };
}
type Listeners<Events> = { [E in keyof Events]: (payload: Events[E]) => void };
type ChatSocket = Socket<Listeners<ServerEvents<Chat>>, Listeners<ClientEvents<Chat>>>;

const chat = createSocketHooks<ServerEvents<Chat>, ChatSocket>();

export function Room(): unknown {
  chat.useEvent("said", ({ text }) => text.toUpperCase());
  chat.useEvent("cleared", () => {});
  // @ts-expect-error: the server sends no such event
  chat.useEvent("shouted", () => {});
  // @ts-expect-error: a payload of another shape
  chat.useEvent("said", ({ loud }) => loud);
  chat.useSocket()?.emit("say", { text: "hi" });
  // @ts-expect-error: it may not be there yet
  chat.useSocket().emit("say", { text: "hi" });
  // @ts-expect-error: the server takes no such event
  chat.useSocket()?.emit("shout", { text: "hi" });
  const { users } = chat.usePresence<{ name: string }>("chat.lobby");
  const { state, code } = chat.useConnection();
  const status = chat.useTask(undefined);
  // @ts-expect-error: there is no such state
  if (state === "open") return code;
  return [[...users.values()].map(({ name }) => name), status?.progress?.done];
}

chat.SocketProvider({ open: () => io("/chat") });
chat.SocketProvider({ socket: io("/chat") });
// @ts-expect-error: one of them
chat.SocketProvider({ socket: io("/chat"), open: () => io("/chat") });
// @ts-expect-error: one of them
chat.SocketProvider({});

const any = createSocketHooks();
any.SocketProvider({ socket: io("/any") });

export function Anything(): void {
  any.useEvent("whatever", (payload) => {
    // @ts-expect-error: nothing is known of it
    payload.text;
  });
}
