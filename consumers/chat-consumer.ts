import { randomUUID } from "node:crypto";
import { Consumer, type EventTable, event } from "sluice";
import { z } from "zod";
import { LOBBY, type Lobby } from "./lobby-consumer.ts";
import type { Person } from "./room-directory.ts";

const Say = z.object({
  /** The client's own, so that it may say it again when it doesn't know whether it was heard. */
  id: z
    .string()
    .regex(/^[A-Za-z0-9-]{16,64}$/)
    .optional(),
  text: z.string().trim().min(1).max(4000),
});
const Typing = z.object({ typing: z.boolean() });
/** No control characters, private or lone ones, and nothing that turns the direction of text. */
const PRINTABLE = /^[^\p{Cc}\p{Co}\p{Cs}\u202a-\u202e\u2066-\u2069]+$/u;
const Auth = z.object({
  name: z.string().trim().min(1).max(40).regex(PRINTABLE),
});

export interface Chat {
  params: { readonly room: string };
  options: Lobby["options"];
  receives: { say: { id?: string | undefined; text: string }; typing: { typing: boolean } };
  sends: Lobby["sends"] & {
    welcome: { room: string; you: Person; people: readonly Person[]; at: number };
    message: { id: string; from: Person; text: string; at: number };
    joined: Person & { at: number };
    left: Person & { at: number };
    typing: Person & { typing: boolean };
  };
}

/** One browser tab in one room. */
export class ChatConsumer extends Consumer<Chat> {
  static override readonly events = {
    say: event(Say, (chat: ChatConsumer, say) => chat.say(say)),
    typing: event(Typing, (chat: ChatConsumer, { typing }) => chat.typing(typing)),
  } satisfies EventTable<ChatConsumer>;

  readonly room = this.scope.params.room;
  /** What is said; it keeps history (routing/groups.ts). */
  readonly group = `chat.${this.room}`;
  /** Who comes, goes and types, which is of no interest later. */
  readonly doings = `doings.${this.room}`;
  #me: Person | undefined;

  override async connect() {
    const auth = Auth.safeParse(this.scope.auth);
    if (!auth.success) this.deny(4400, "Choose a name of 1 to 40 characters.");
    // A room whose name makes no group's name is refused here, with the reason.
    await this.groupAdd(this.group);
    await this.groupAdd(this.doings);

    const me = { id: randomUUID(), name: auth.data.name };
    this.#me = me;
    this.options.rooms.enter(this.room, me);
    this.send("node", { name: this.options.node });
    const people = this.options.rooms.people(this.room);
    this.send("welcome", { room: this.room, you: me, people, at: Date.now() });
    await this.groupEmit(this.doings, "joined", { ...me, at: Date.now() }, { except: this.channel });
    this.#tellLobby();
  }

  async say({ id = randomUUID(), text }: Chat["receives"]["say"]) {
    const message = { id, from: this.me, text, at: Date.now() };
    await this.groupEmit(this.group, "message", message, { idempotencyKey: id });
    return { id: message.id, at: message.at };
  }

  async typing(typing: boolean) {
    await this.groupEmit(this.doings, "typing", { ...this.me, typing }, { except: this.channel });
  }

  override async disconnect() {
    if (this.#me === undefined) return; // refused before it came in
    this.options.rooms.leave(this.room, this.me.id);
    await this.groupEmit(this.doings, "left", { ...this.me, at: Date.now() });
    this.#tellLobby();
  }

  private get me(): Person {
    if (this.#me === undefined) throw new Error("nobody speaks before connect");
    return this.#me;
  }

  #tellLobby() {
    const { rooms, node } = this.options;
    rooms.tellSoon(() => {
      // The server may have stopped meanwhile; then nobody is left to tell.
      this.groupSend(LOBBY, { type: "rooms.changed", node, rooms: rooms.own() }).catch(() => {});
    });
  }
}
