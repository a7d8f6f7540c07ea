import { expect, jest, test } from "@jest/globals";
import { recover } from "sluice/client";
import { io, type Socket } from "socket.io-client";
import { connected, heard as hears, until } from "../server/live-server.ts";
import { at, claim, greetingOf, joined, manager, type Recovering, script } from "./scripted-server.ts";

/** The connection breaks, and a stock client makes the next. */
async function breakOff({ client, peer }: Recovering): Promise<void> {
  const back = hears(client, "connect");
  peer.conn.close();
  await back;
}

test("listeners get what those of a stock client get: payloads, binary parts, acknowledgements, nothing of positions", async () => {
  const { client, recovering } = await script();
  const plain = client();
  const plainHeard: unknown[][] = [];
  plain.onAny((...args) => plainHeard.push(args));
  await connected(plain.connect());
  const mine = await recovering();
  const others: unknown[] = [];
  mine.client.on("two", (...args: unknown[]) => others.push(args));

  const binary = { bytes: Buffer.from([1, 2, 3]), deep: [{ more: Buffer.from([4]) }] };
  const answers: unknown[] = [];
  const io = mine.peer.nsp;
  mine.peer.emit("sluice.joined", joined("den", "x", 0));
  for (const peer of io.sockets.values()) {
    const position = (offset: number, part?: number) =>
      peer === mine.peer ? [at("den", "x", offset, part)] : [];
    peer.emit("one", { text: "hi" }, ...position(1));
    peer.emit("two", binary, ...position(2));
    peer.emit("three", null, ...position(3));
    peer.emit("bare", ...position(4).flatMap((mark) => [null, { ...mark, bare: true }]));
    peer.emit("several", 1, 2, 3);
    peer.volatile.emit("volatile", 5);
    peer.emit("ask", "what?", ...position(5, 1), (answer: unknown) => answers.push(answer));
    peer.emit("sluice.error", { event: "say", code: "x", message: "no" });
    peer.emit("end");
  }
  mine.peer.emit("sluice.position", { group: "den", epoch: "x", offset: 5, id: "i5" });
  mine.peer.emit("sluice.left", { group: "den" });
  mine.peer.emit("last");
  const isAsk = ([event]: unknown[]) => event === "ask";
  await until(() => plainHeard.some(isAsk) && mine.heard.at(-1)?.[0] === "last", "both have heard all");
  const shape = (all: unknown[][]) =>
    all.map((args) => args.map((value) => (typeof value === "function" ? "ack" : value)));
  await until(() => plainHeard.at(-1)?.[0] === "end", "the stock client has heard all");
  expect(shape(mine.heard.slice(0, -1))).toEqual(shape(plainHeard));
  expect(others).toEqual([[binary]]);
  for (const all of [plainHeard, mine.heard]) {
    const [, , acknowledge] = all.find(isAsk) ?? [];
    (acknowledge as (answer: unknown) => void)("that");
  }
  await until(() => answers.length === 2, "both have answered");
  expect(answers).toEqual(["that", "that"]);
});

const AUTH: [string, Parameters<typeof io>[1], object][] = [
  ["none", {}, {}],
  ["an object", { auth: { token: "t" } }, { token: "t" }],
  ["a function", { auth: (give: (auth: object) => void) => give({ token: "t" }) }, { token: "t" }],
  [
    "a function that answers later",
    { auth: (give: (auth: object) => void) => void setImmediate(give, { token: "t" }) },
    { token: "t" },
  ],
  ["one that says sluice itself", { auth: { token: "t", sluice: "mine" } }, { token: "t" }],
];

test.each(AUTH)(
  "hands its positions over beside the application's auth: %s",
  async (_form, options, auth) => {
    const { recovering, peer } = await script();
    const mine = await recovering(options);
    expect(mine.peer.handshake.auth).toEqual({ ...auth, sluice: { v: 1, positions: [] } });
    mine.peer.emit("sluice.joined", joined("den", "x", 40));
    mine.peer.emit("message", "a", at("den", "x", 41));
    await until(() => mine.heard.length === 1, "the event is heard");
    await breakOff(mine);
    expect((await peer(1)).handshake.auth).toEqual({
      ...auth,
      sluice: { v: 1, positions: [claim("den", "x", 41, 40)] },
    });
  },
);

test("auth stays the application's own, and may change from one connection to the next", async () => {
  const { recovering, peer } = await script();
  const auth = { token: "old" };
  const mine = await recovering({ auth });
  expect(mine.client.auth).toBe(auth);
  auth.token = "new";
  await breakOff(mine);
  expect((await peer(1)).handshake.auth).toMatchObject({ token: "new" });
  mine.client.auth = { other: 1 };
  mine.client.disconnect().connect();
  expect((await peer(2)).handshake.auth).toEqual({ other: 1, sluice: { v: 1, positions: [] } });
});

test("what was seen is dropped, by epoch and offset; another epoch counts anew", async () => {
  const { recovering } = await script();
  const { peer, heard, recovery } = await recovering();
  peer.emit("sluice.joined", joined("den", "x", 5));
  for (const offset of [5, 6, 6, 4, 7, 5, 8]) peer.emit("m", offset, at("den", "x", offset));
  peer.emit("m", "elsewhere", at("attic", "x", 1));
  peer.emit("m", "anew", at("den", "y", 1));
  peer.emit("m", "twice", at("den", "y", 1));
  peer.emit("end");
  await until(() => heard.at(-1)?.[0] === "end", "all is heard");
  expect(heard.map(([, payload]) => payload)).toEqual([6, 7, 8, "elsewhere", "anew", undefined]);
  expect(recovery.positions).toEqual([{ group: "den", epoch: "y", offset: 1, id: "i1" }]);
});

test("what a handler sends counts part by part; the position is the message's when it is complete", async () => {
  const { recovering, peer } = await script();
  const mine = await recovering();
  mine.peer.emit("sluice.joined", joined("den", "x", 5));
  mine.peer.emit("m", "6.1", at("den", "x", 6, 1));
  mine.peer.emit("m", "6.2", at("den", "x", 6, 2));
  await until(() => mine.heard.length === 2, "two parts are heard");
  await breakOff(mine);
  const next = await peer(1);
  expect(greetingOf(next)).toEqual({ v: 1, positions: [claim("den", "x", 5, 5)] });
  next.emit("sluice.joined", joined("den", "x", 5, { recovered: true }));
  for (const part of [1, 2, 3]) next.emit("m", `6.${part}`, at("den", "x", 6, part));
  next.emit("sluice.position", { group: "den", epoch: "x", offset: 6, id: "i6" });
  next.emit("m", "6.4", at("den", "x", 6, 4));
  next.emit("m", "7.1", at("den", "x", 7, 1));
  next.emit("end");
  await until(() => mine.heard.at(-1)?.[0] === "end", "all is heard");
  expect(mine.heard.map(([, payload]) => payload)).toEqual(["6.1", "6.2", "6.3", "7.1", undefined]);
  expect(mine.recovery.positions).toEqual([{ group: "den", epoch: "x", offset: 6, id: "i6" }]);
});

test.each(["before", "after"])(
  "a question that is asked again is answered as the first time, answered %s it is asked again",
  async (when) => {
    const { recovering, peer } = await script();
    const mine = await recovering();
    const acknowledgements: ((answer: unknown) => void)[] = [];
    mine.client.on("ask", (_question, acknowledge) => acknowledgements.push(acknowledge));
    mine.peer.emit("sluice.joined", joined("den", "x", 5));
    mine.peer.emit("ask", "name?", at("den", "x", 6, 1), () => {});
    await until(() => acknowledgements.length === 1, "it is asked");
    if (when === "before") acknowledgements[0]?.("Ada");
    await breakOff(mine);
    const next = await peer(1);
    next.emit("sluice.joined", joined("den", "x", 5, { recovered: true }));
    const answer = next.timeout(10_000).emitWithAck("ask", "name?", at("den", "x", 6, 1));
    next.emit("end");
    await until(() => mine.heard.at(-1)?.[0] === "end", "it is asked again");
    if (when === "after") acknowledgements[0]?.("Ada");
    expect(await answer).toBe("Ada");
    expect(acknowledgements).toHaveLength(1);
  },
);

test("joined, gap and left are told; a gap's position counts, and after left there is none", async () => {
  const { recovering } = await script();
  const { peer, heard, recovery } = await recovering();
  const told: unknown[] = [];
  recovery.on("joined", (event) => told.push(["joined", event]));
  const off = recovery.on("gap", (event) => told.push(["gap", event]));
  recovery.on("left", (event) => told.push(["left", event]));
  peer.emit("sluice.joined", joined("den", "x", 5));
  peer.emit("sluice.gap", { group: "den", reason: "ahead", epoch: "x", offset: 2, id: "i2" });
  peer.emit("m", "three", at("den", "x", 3));
  peer.emit("end");
  await until(() => heard.at(-1)?.[0] === "end", "all is heard");
  expect(told).toEqual([
    ["joined", { group: "den", epoch: "x", offset: 5, id: "i5", recovered: false }],
    ["gap", { group: "den", reason: "ahead", epoch: "x", offset: 2, id: "i2" }],
  ]);
  expect(heard).toEqual([["m", "three"], ["end"]]);
  expect(recovery.positions).toEqual([{ group: "den", epoch: "x", offset: 3, id: "i3" }]);

  off();
  peer.emit("sluice.gap", { group: "den", reason: "id", epoch: "x", offset: 3, id: "i3" });
  peer.emit("sluice.left", { group: "den" });
  await until(() => told.length === 3, "it has left");
  expect(told.at(-1)).toEqual(["left", { group: "den" }]);
  expect(recovery.positions).toEqual([]);
});

test("events that came before the connection was open are known as well", async () => {
  const { io, recovering } = await script();
  io.of("/room").use((peer, next) => {
    peer.emit("sluice.joined", joined("den", "x", 1));
    for (const offset of [2, 2, 1]) peer.emit("m", offset, at("den", "x", offset));
    next();
  });
  const { peer, heard } = await recovering();
  peer.emit("end");
  await until(() => heard.at(-1)?.[0] === "end", "all is heard");
  expect(heard).toEqual([["m", 2], ["end"]]);
});

test.each([
  [{ sluice: "x" }],
  [{ sluice: [] }],
  [{ sluice: ["den", "x", -1, "i"] }],
  [{ sluice: ["den", "x", 1.5, "i"] }],
  [{ sluice: ["den", "x", "1", "i"] }],
  [{ sluice: ["den", "x", 9, "i", "1"] }],
  [{ sluice: ["den", "x", 9, "i", 1, 1] }],
  [{ sluice: ["x".repeat(2_000), "x", 9, "i"] }],
  [["den", "x", 9, "i"]],
  [null],
  ["text"],
])("a second argument that is no position is the application's: %j", async (second) => {
  const { recovering } = await script();
  const { peer, heard, recovery } = await recovering();
  peer.emit("sluice.joined", joined("den", "x", 1));
  peer.emit("m", 1, second);
  peer.emit("end");
  await until(() => heard.at(-1)?.[0] === "end", "all is heard");
  expect(heard[0]).toEqual(["m", 1, second]);
  expect(recovery.positions).toMatchObject([{ offset: 1 }]);
});

test.each([undefined, null, 7, {}, { group: "den" }, { group: 7, epoch: "x", offset: 1, id: "" }])(
  "words of the protocol that make no sense change nothing: %j",
  async (payload) => {
    const { recovering } = await script();
    const { peer, heard, recovery } = await recovering();
    const told = jest.fn();
    for (const event of ["joined", "gap"] as const) recovery.on(event, told);
    for (const event of ["joined", "gap", "position"]) peer.emit(`sluice.${event}`, payload);
    peer.emit("sluice.left", { group: 7 });
    peer.emit("end");
    await until(() => heard.at(-1)?.[0] === "end", "all is heard");
    expect(heard).toEqual([["end"]]);
    expect(told).not.toHaveBeenCalled();
    expect(recovery.positions).toEqual([]);
  },
);

test("namespaces of one connection have positions of their own", async () => {
  const { url, peer } = await script();
  const both = manager(url);
  const [room, other] = [both.socket("/room"), both.socket("/other")];
  const [roomRecovery, otherRecovery] = [recover(room), recover(other)];
  room.connect();
  const roomPeer = await peer(0);
  other.connect();
  const otherPeer = await peer(1);
  roomPeer.emit("sluice.joined", joined("den", "x", 1));
  otherPeer.emit("sluice.joined", joined("den", "x", 2));
  otherPeer.emit("sluice.joined", joined("attic", "y", 3));
  await until(
    () => roomRecovery.positions.length === 1 && otherRecovery.positions.length === 2,
    "all have joined",
  );
  roomPeer.conn.close();
  const back = [await peer(2), await peer(3)];
  const greeting = (name: string) => greetingOf(back.find(({ nsp }) => nsp.name === name) ?? roomPeer);
  expect(greeting("/room")).toEqual({ v: 1, positions: [claim("den", "x", 1, 1)] });
  expect(greeting("/other")).toEqual({
    v: 1,
    positions: [claim("den", "x", 2, 2), claim("attic", "y", 3, 3)],
  });
});

test("of more than 100 positions the last used are handed over, and a gap is told for the others", async () => {
  const { recovering, peer } = await script();
  const mine = await recovering();
  const gaps: unknown[] = [];
  mine.recovery.on("gap", (gap) => gaps.push(gap));
  for (let i = 0; i < 103; i++) mine.peer.emit("sluice.joined", joined(`g${i}`, "x", 1));
  mine.peer.emit("m", "used", at("g0", "x", 2));
  await until(() => mine.heard.length === 1, "all have joined");
  await breakOff(mine);
  const next = await peer(1);
  const { positions } = greetingOf(next) as { positions: { group: string }[] };
  expect(positions).toHaveLength(100);
  expect(positions[0]?.group).toBe("g4");
  expect(positions.at(-1)).toEqual(claim("g0", "x", 2, 1));

  next.emit("sluice.joined", joined("g0", "x", 2, { recovered: true }));
  next.emit("sluice.joined", joined("g1", "x", 9));
  next.emit("sluice.joined", joined("g2", "x", 1)); // nothing was said meanwhile
  next.emit("sluice.joined", joined("new", "x", 9));
  next.emit("end");
  await until(() => mine.heard.at(-1)?.[0] === "end", "all is heard");
  expect(gaps).toEqual([{ group: "g1", reason: "too_many", epoch: "x", offset: 9, id: "i9" }]);
});

test("never more than 1,000 positions are kept", async () => {
  const { recovering } = await script();
  const { peer, heard, recovery } = await recovering();
  for (let i = 0; i < 1_010; i++) peer.emit("sluice.joined", joined(`g${i}`, "x", 1));
  peer.emit("end");
  await until(() => heard.length === 1, "all have joined");
  expect(recovery.positions).toHaveLength(1_000);
  expect(recovery.positions[0]).toMatchObject({ group: "g10" });
});

test("a group that is forgotten is joined as by a newcomer; without a name all are", async () => {
  const { recovering, peer } = await script();
  const mine = await recovering();
  for (const group of ["a", "b", "c"]) mine.peer.emit("sluice.joined", joined(group, "x", 1));
  await until(() => mine.recovery.positions.length === 3, "all have joined");
  mine.recovery.forget("b");
  await breakOff(mine);
  expect(greetingOf(await peer(1))).toEqual({
    v: 1,
    positions: [claim("a", "x", 1, 1), claim("c", "x", 1, 1)],
  });
  mine.recovery.forget();
  mine.client.disconnect().connect();
  expect(greetingOf(await peer(2))).toEqual({ v: 1, positions: [] });
});

test("called again it is the same, and after stop the socket is a stock one", async () => {
  const { recovering, peer, client } = await script();
  const mine = await recovering();
  expect(recover(mine.client)).toBe(mine.recovery);
  mine.peer.emit("sluice.joined", joined("den", "x", 1));
  await until(() => mine.recovery.positions.length === 1, "it has joined");
  mine.recovery.stop();
  const plain = await connected(client().connect());
  const added = Object.keys(mine.client).filter((name) => !Object.hasOwn(plain, name));
  expect(added).toEqual(["_anyListeners"]);
  mine.peer.emit("m", 1, at("den", "x", 1));
  await until(() => mine.heard.length === 1, "the event is heard");
  expect(mine.heard).toEqual([["m", 1, at("den", "x", 1)]]);
  await breakOff(mine);
  expect((await peer(2)).handshake.auth).toEqual({});
  expect(recover(mine.client)).not.toBe(mine.recovery);
});

test("on a socket that is connected already it counts from the next connection on", async () => {
  const { client, peer } = await script();
  const mine = client();
  await connected(mine.connect());
  const recovery = recover(mine);
  await breakOff({ client: mine, recovery, peer: await peer(0), heard: [] });
  expect(greetingOf(await peer(1))).toEqual({ v: 1, positions: [] });
});

test("the application's off() and removeAllListeners() do not take it off", async () => {
  const { recovering, peer } = await script();
  const mine = await recovering();
  mine.peer.emit("sluice.joined", joined("den", "x", 1));
  await until(() => mine.recovery.positions.length === 1, "it has joined");
  mine.client.off();
  mine.client.offAny();
  mine.client.removeAllListeners();
  await breakOff(mine);
  expect(greetingOf(await peer(1))).toEqual({ v: 1, positions: [claim("den", "x", 1, 1)] });
});

test("what it relies on in socket.io-client is there; anything else is refused", () => {
  const typed: Socket<{ m: (text: string) => void }, { say: (text: string) => void }> = io({
    autoConnect: false,
  });
  recover(typed).stop();
  expect(() => recover({ connected: false, active: false, connect() {}, disconnect() {} })).toThrow(
    "recover() takes a socket of socket.io-client 4; this one has no emitEvent()",
  );
});
