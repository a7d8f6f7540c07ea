/** A stock Socket.IO server that says what a test tells it to: the other side of docs/protocol.md, word by word. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { recover } from "sluice/client";
import { type Socket as Peer, Server } from "socket.io";
import { Manager, type ManagerOptions, type Socket, type SocketOptions } from "socket.io-client";
import { atEnd, connected, stock, until } from "../server/live-server.ts";

export interface Script {
  readonly io: Server;
  readonly url: string;
  /** Each connection to a room, in order. */
  readonly peers: readonly Peer[];
  client(options?: Partial<ManagerOptions & SocketOptions>, namespace?: string): Socket;
  /** The server's side of a connection, counted from 0. */
  peer(index: number): Promise<Peer>;
  /** A client that is connected and recovers, and its peer. */
  recovering(options?: Partial<ManagerOptions & SocketOptions>): Promise<Recovering>;
}

export interface Recovering {
  readonly client: Socket;
  readonly recovery: ReturnType<typeof recover>;
  readonly peer: Peer;
  /** All that the client's listeners got. */
  readonly heard: unknown[][];
}

export async function script(): Promise<Script> {
  const http = createServer().listen(0, "127.0.0.1");
  await once(http, "listening");
  const io = new Server(http);
  atEnd(() => io.close());
  const peers: Peer[] = [];
  for (const namespace of ["/room", "/other"]) io.of(namespace).on("connection", (peer) => peers.push(peer));
  const url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const client: Script["client"] = (options = {}, namespace = "/room") =>
    stock(url + namespace, { reconnection: true, autoConnect: false, ...options });
  const peer = (index: number) => until(() => peers[index], `connection ${index}`);
  return {
    io,
    url,
    peers,
    client,
    peer,
    async recovering(options) {
      const mine = client(options);
      const recovery = recover(mine);
      const heard: unknown[][] = [];
      mine.onAny((...args) => heard.push(args));
      const index = peers.length;
      await connected(mine.connect());
      return { client: mine, recovery, peer: await peer(index), heard };
    },
  };
}

/** What `sluice.joined` says, with a receipt that tells where it was given. */
export function joined(group: string, epoch: string, offset: number, more: object = {}): object {
  return {
    group,
    epoch,
    offset,
    id: `i${offset}`,
    since: offset,
    receipt: `r-${group}`,
    recovered: false,
    ...more,
  };
}

/** The second argument of an event. */
export function at(group: string, epoch: string, offset: number, part?: number): object {
  return { sluice: [group, epoch, offset, `i${offset}`, ...(part === undefined ? [] : [part])] };
}

/** What a client of `joined` hands over at that offset. */
export function claim(group: string, epoch: string, offset: number, since: number): object {
  return { group, epoch, offset, id: `i${offset}`, since, receipt: `r-${group}` };
}

/** What a connection was opened with. */
export function greetingOf(peer: Peer): unknown {
  return peer.handshake.auth.sluice;
}

/** Several namespaces on one connection. */
export function manager(url: string): Manager {
  const made = new Manager(url, {
    transports: ["websocket"],
    reconnectionDelay: 10,
    reconnectionDelayMax: 20,
    autoConnect: false,
  });
  atEnd(() => {
    made.reconnection(false);
    made.engine?.close();
  });
  return made;
}
