import { randomUUID } from "node:crypto";
import { Consumer, type EventTable, event, type Message, NoHandler } from "sluice";
import { z } from "zod";
import { roomGroup, userGroup } from "../routing/groups.ts";
import { exportRoom } from "../tasks/export-room.ts";
import type { Diary } from "./diary.ts";
import { LOBBY, type Lobby } from "./lobby-consumer.ts";
import { Name, type Person } from "./person.ts";
import { fullest } from "./room-directory.ts";

const Say = z.object({
  /** The client's own, so that it may say it again when it doesn't know whether it was heard. */
  id: z
    .string()
    .regex(/^[A-Za-z0-9-]{16,64}$/)
    .optional(),
  text: z.string().trim().min(1).max(4000),
});
const Typing = z.object({ typing: z.boolean() });
const Rename = z.object({ name: Name });
const Nothing = z.object({});

/** Longer than the transcript is kept, so that who comes too late is told so. */
const TICKET_MS = 24 * 3_600_000;

export interface Chat {
  params: { readonly room: string };
  user: Person;
  options: Lobby["options"] & {
    /** Left out where there are no tasks. */
    readonly diary?: Diary | undefined;
  };
  receives: {
    say: { id?: string | undefined; text: string };
    typing: { typing: boolean };
    rename: { name: string };
    export: Record<string, never>;
  };
  sends: Pick<Lobby["sends"], "node"> & {
    you: Person;
    welcome: { room: string; knowsPeople: boolean; canExport: boolean; at: number };
    message: { id: string; from: Person; text: string; at: number };
    typing: Person & { typing: boolean };
    export: { id: string; room: string; ticket: string };
  };
}

/** One browser tab in one room. */
export class ChatConsumer extends Consumer<Chat> {
  static override readonly events = {
    say: event(Say, (chat: ChatConsumer, say) => chat.say(say)),
    typing: event(Typing, (chat: ChatConsumer, { typing }) => chat.typing(typing)),
    rename: event(Rename, (chat: ChatConsumer, { name }) => chat.rename(name)),
    export: event(Nothing, (chat: ChatConsumer) => chat.export()),
  } satisfies EventTable<ChatConsumer>;

  readonly room = this.scope.params.room;
  /** What is said, and who is here; what it keeps stands in routing/groups.ts. */
  readonly group = roomGroup(this.room);
  /** Who types, which is of no interest later. */
  readonly doings = `doings.${this.room}`;
  #name = this.scope.user.name;
  #canExport = false;

  override async connect() {
    this.send("node", { name: this.options.node });
    this.send("you", this.me);
    // A room whose name makes no group's name is refused here, with the reason.
    await this.groupAdd(this.group);
    await this.groupAdd(this.doings);
    const knowsPeople = (await this.sendPresence(this.group).then(() => true, whereNobodyCounts)) ?? false;
    this.#canExport = knowsPeople && this.options.diary !== undefined;
    if (this.#canExport) await this.groupAdd(userGroup(this.me.id));
    this.send("welcome", { room: this.room, knowsPeople, canExport: this.#canExport, at: Date.now() });
    this.options.rooms.enter(this.room, this.channel);
    this.#tellLobby();
  }

  async say({ id = randomUUID(), text }: Chat["receives"]["say"]) {
    const message = { id, from: this.me, text, at: Date.now() };
    await this.groupEmit(this.group, "message", message, { idempotencyKey: id });
    this.options.diary?.note(this.room, this.me.id);
    return { id: message.id, at: message.at };
  }

  async typing(typing: boolean) {
    await this.groupEmit(this.doings, "typing", { ...this.me, typing }, { except: this.channel });
  }

  async rename(name: string) {
    await this.updatePresence(this.group, { name });
    this.#name = name;
    return { name };
  }

  /**
   * Answers at once; a task does the work. All tabs of this person get the ticket to watch it, and those that
   * come later. Who asks while it is being done, whoever it is, is given the same run.
   */
  async export() {
    if (!this.#canExport) throw new NoHandler("there is nothing to export: this room remembers nothing");
    const run = await exportRoom.enqueue({ room: this.room }, { key: this.room });
    const ticket = run.ticket({ ttlMs: TICKET_MS });
    await this.groupEmit(userGroup(this.me.id), "export", { id: run.id, room: this.room, ticket });
    return { ticket };
  }

  presenceJoin() {
    this.#tellLobby();
  }

  presenceLeave() {
    this.#tellLobby();
  }

  /** Somebody has a new name; perhaps we, in another tab. */
  presenceUpdate({ user, info }: Message) {
    if (user === this.me.id) this.#name = (info as Person).name;
  }

  override disconnect() {
    this.options.rooms.leave(this.room, this.channel);
  }

  private get me(): Person {
    return { id: this.scope.user.id, name: this.#name };
  }

  #tellLobby() {
    const { rooms } = this.options;
    rooms.tellSoon(async (names) => {
      const counts = names.map((name) => this.presenceCount(roomGroup(name)).catch(whereNobodyCounts));
      const people = await Promise.all(counts);
      const open = fullest(names.map((name, i) => ({ name, people: people[i] })));
      rooms.learn(open);
      await this.groupSend(LOBBY, { type: "rooms.open", rooms: open });
    });
  }
}

/** Several processes without Redis don't know who is here; they chat all the same. */
function whereNobodyCounts(error: unknown): undefined {
  if (!(error instanceof NoHandler)) throw error;
}
