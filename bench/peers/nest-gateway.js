/** A gateway as NestJS' documentation has it; decorators are called by hand, as this is JavaScript. */
import "reflect-metadata";
import { Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { MessageBody, SubscribeMessage, WebSocketGateway, WebSocketServer } from "@nestjs/websockets";

export function createGateway({ namespace, event, check }) {
  let gateway;

  class ChatGateway {
    constructor() {
      gateway = this;
    }

    handleConnection(socket) {
      void socket.join(socket.handshake.auth.rooms.map(roomName));
    }

    echo(payload) {
      return payload;
    }

    checked(payload) {
      return check(payload);
    }

    broadcast(payload) {
      this.publish(0, payload);
      return { sent: true };
    }

    publish(room, payload) {
      this.server.to(roomName(room)).emit(event, payload);
    }
  }
  WebSocketServer()(ChatGateway.prototype, "server");
  for (const name of ["echo", "checked", "broadcast"]) {
    MessageBody()(ChatGateway.prototype, name, 0);
    Reflect.defineMetadata("design:paramtypes", [Object], ChatGateway.prototype, name);
    SubscribeMessage(name)(
      ChatGateway.prototype,
      name,
      Object.getOwnPropertyDescriptor(ChatGateway.prototype, name),
    );
  }
  WebSocketGateway({
    namespace,
    pingInterval: 25_000,
    pingTimeout: 20_000,
    maxHttpBufferSize: 100_000,
    perMessageDeflate: false,
  })(ChatGateway);

  class ChatModule {}
  Module({ providers: [ChatGateway] })(ChatModule);

  return {
    async start() {
      const app = await NestFactory.create(ChatModule, { logger: ["error"] });
      await app.listen(0, "127.0.0.1");
      return { port: app.getHttpServer().address().port };
    },
    publish: (room, payload) => gateway.publish(room, payload),
  };
}

function roomName(room) {
  return `chat.${room}`;
}
