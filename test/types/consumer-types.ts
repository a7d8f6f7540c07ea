/**
 * Type tests: compiled with everything else by `npm run check`. A line under `@ts-expect-error` that
 * compiles is an error.
 */
import {
  type ClientEvents,
  Consumer,
  type Converter,
  createApplication,
  type EventTable,
  event,
  include,
  type MessageHandlers,
  type ParamsOf,
  route,
  type ServerEvents,
} from "sluice";
import { z } from "zod";

interface User {
  readonly id: number;
}

interface Chat {
  params: { readonly room: string };
  user: User;
  options: { readonly max: number };
  receives: { say: { text: string }; typing: boolean };
  sends: { said: { text: string }; pong: undefined };
  messages: { "chat.closed": { by: string }; "user.muted": { id: number } };
}

export class ChatConsumer extends Consumer<Chat> implements MessageHandlers<Chat> {
  static override readonly events = {
    say: event(z.object({ text: z.string() }), (chat: ChatConsumer, say) => chat.say(say.text)),
    typing: event(z.boolean(), (_chat: ChatConsumer, typing) => typing),
  } satisfies EventTable<ChatConsumer>;

  async say(text: string): Promise<void> {
    const room: string = this.scope.params.room;
    const id: number = this.scope.user.id;
    const max: number = this.options.max;
    this.send("said", { text: `${room} ${id} ${max}` });
    this.send("pong");
    await this.groupEmit("g", "said", { text });
    await this.groupSend("g", { type: "chat.closed", by: "me" });

    // @ts-expect-error no such parameter
    this.scope.params.rom;
    // @ts-expect-error no such event
    this.send("siad", { text });
    // @ts-expect-error wrong payload
    this.send("said", { txt: text });
    // @ts-expect-error missing payload
    this.send("said");
    // @ts-expect-error no such event
    await this.groupEmit("g", "siad", { text });
    // @ts-expect-error wrong payload
    await this.groupEmit("g", "said", { text: 7 });
    // @ts-expect-error no such message
    await this.groupSend("g", { type: "chat.clsoed", by: "me" });
    // @ts-expect-error wrong field
    await this.groupSend("g", { type: "chat.closed", by: 7 });
    // @ts-expect-error the schema makes an object of it
    this.validate(z.object({ n: z.number() }), {}).m;
  }

  chatClosed(message: { by: string }): string {
    return message.by;
  }
  userMuted(message: { id: number }): number {
    return message.id;
  }
}

// @ts-expect-error the handler of "user.muted" is missing
export class Forgetful extends Consumer<Chat> implements MessageHandlers<Chat> {
  chatClosed(): void {}
}

export const wrongName = {
  // @ts-expect-error clients send "say"
  sya: event(z.object({ text: z.string() }), () => {}),
  typing: event(z.boolean(), () => {}),
} satisfies EventTable<ChatConsumer>;

export const wrongPayload = {
  // @ts-expect-error "say" comes with { text: string }
  say: event(z.object({ text: z.number() }), () => {}),
  typing: event(z.boolean(), () => {}),
} satisfies EventTable<ChatConsumer>;

// Routes bring the parameters and options that their consumers need.
const options = { max: 3 };
createApplication({ routes: [route("/chat/:room", ChatConsumer, { options })] });
createApplication({ routes: [include("/:room", [route("/chat", ChatConsumer, { options })])] });
createApplication({ routes: [route("/plain/:anything", class extends Consumer {})] });
// @ts-expect-error the pattern has no :room
createApplication({ routes: [route("/chat/:rom", ChatConsumer, { options })] });
// @ts-expect-error :room is a number there
createApplication({ routes: [route("/chat/:room(int)", ChatConsumer, { options })] });
// @ts-expect-error :room may be missing there
createApplication({ routes: [route("/chat/:room?", ChatConsumer, { options })] });
// @ts-expect-error the include has no :room either
createApplication({ routes: [include("/:team", [route("/chat", ChatConsumer, { options })])] });
// @ts-expect-error the consumer needs options
route("/chat/:room", ChatConsumer);
// @ts-expect-error wrong options
route("/chat/:room", ChatConsumer, { options: { max: "3" } });
// @ts-expect-error not a consumer
route("/chat/:room", Map);

// What several consumers below one prefix need is needed together.
class OfTeam extends Consumer<{ params: { readonly team: string } }> {}
class OfRoom extends Consumer<{ params: { readonly room: string } }> {}
createApplication({ routes: [include("/:team/:room", [route("/a", OfTeam), route("/b", OfRoom)])] });
// @ts-expect-error the include has no :room
createApplication({ routes: [include("/:team", [route("/a", OfTeam), route("/b", OfRoom)])] });

// Converters of one's own make what consumers declare.
const year: Converter<Date> = {
  match: /[0-9]{4}/,
  parse: (text) => new Date(Date.UTC(Number(text), 0)),
  format: (date) => String(date.getUTCFullYear()),
};
const hex: Converter<number> = { match: /[0-9a-f]{1,8}/, parse: (text) => Number.parseInt(text, 16) };
class Archive extends Consumer<{ params: { readonly from: Date } }> {}
class Colour extends Consumer<{ params: { readonly colour: number } }> {}
class Recent extends Consumer<{ params: { readonly from?: Date } }> {}
const coloured = [route("/a/:from(year)", Archive), route("/c/:colour(hex)", Colour)] as const;
createApplication({ converters: { year, hex }, routes: coloured });
createApplication({ converters: { year, hex }, middleware: [], routes: coloured });
createApplication({ converters: { year, hex }, routes: [include("/in", coloured)] });
createApplication({
  converters: { year, hex },
  routes: [include("/:from(year)/:colour(hex)", [route("/a", Archive), route("/c", Colour)])],
});
createApplication({ converters: { year }, routes: [route("/a/:from(year)?", Recent)] });
// @ts-expect-error :from may be missing there
createApplication({ converters: { year }, routes: [route("/a/:from(year)?", Archive)] });
// @ts-expect-error this one makes numbers
createApplication({ converters: { year: hex }, routes: [route("/a/:from(year)", Archive)] });
// @ts-expect-error so does this one, further in
createApplication({ converters: { year: hex }, routes: [include("/in", [route("/:from(year)", Archive)])] });

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const isTrue = <T extends true>(): T => true as T;
isTrue<Equal<ParamsOf<"/chat/:room">, { readonly room: string }>>();
isTrue<
  Equal<
    ParamsOf<"/a/:id(int)/:slug(slug)/:page(int)?">,
    {
      readonly id: number;
      readonly slug: string;
      readonly page?: number;
    }
  >
>();
isTrue<
  Equal<
    ParamsOf<"/:from(year)/:id(int)", { readonly year: typeof year }>,
    {
      readonly from: Date;
      readonly id: number;
    }
  >
>();
isTrue<Equal<ParamsOf<"/:from(year)">, { readonly from: unknown }>>();
isTrue<Equal<keyof ClientEvents<Chat>, "say" | "typing">>();
isTrue<Equal<ServerEvents<Chat>["said"], { text: string }>>();

/** Without declarations everything is open. */
export class Untyped extends Consumer {
  override async receive(name: string, payload: unknown): Promise<unknown> {
    this.send(name, payload);
    await this.groupSend("g", { type: "a.b", any: 1 });
    return this.scope.params.whatever;
  }
}
