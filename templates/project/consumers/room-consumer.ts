import { Consumer, event } from "sluice";
import { z } from "zod";

const Message = z.object({
  from: z.string().trim().min(1).max(30),
  text: z.string().trim().min(1).max(500),
});
type Message = z.infer<typeof Message>;

interface Room {
  params: { room: string };
  receives: { say: Message };
  sends: { said: Message };
}

/** One visitor of a room; each connection has an instance of its own. */
export class RoomConsumer extends Consumer<Room> {
  static override readonly events = {
    say: event(Message, (visitor: RoomConsumer, message) => visitor.say(message)),
  };
  readonly room = `rooms.${this.scope.params.room}`;

  override async connect() {
    await this.groupAdd(this.room); // from here on every message reaches us
  }

  async say(message: Message) {
    await this.groupEmit(this.room, "said", message);
    return { sent: true }; // the client's acknowledgement
  }
}
