/** `useToken` beside what the application does with its socket meanwhile. */
import { expect, jest, test } from "@jest/globals";
import { useToken } from "sluice/client";
import { connected, gate, heard, until } from "../server/live-server.ts";
import { script } from "./scripted-server.ts";

test("what the application gives by a function goes along, and is its own again afterwards", async () => {
  const { client, peer } = await script();
  const auth = (give: (auth: object) => void) => give({ device: 7 });
  const socket = client({ auth });
  const keeper = useToken(socket, () => "one");
  await connected(socket.connect());
  expect((await peer(0)).handshake.auth).toEqual({ device: 7, token: "one" });
  keeper.stop();
  expect(socket.auth).toBe(auth);
  expect(useToken(socket, () => "two")).not.toBe(keeper);
});

test("what the application has put there since stays", async () => {
  const { client } = await script();
  const socket = client({ auth: { device: 7 } });
  const keeper = useToken(socket, () => "one");
  socket.auth = { device: 8 };
  keeper.stop();
  expect(socket.auth).toEqual({ device: 8 });
});

test("a token that comes, or fails, when its connection is not asked for any more opens and tells nothing", async () => {
  const { client, peer, peers } = await script();
  const [first, second] = [gate(), gate()];
  const answers = [
    () => first.passed.then(() => "late"),
    () => second.passed.then(() => Promise.reject(new Error("no token"))),
    () => "in time",
  ];
  const socket = client();
  const getToken = jest.fn(() => answers.shift()?.() ?? "more");
  const failed = jest.fn();
  useToken(socket, getToken).on("failed", failed);
  for (let round = 1; round <= 3; round++) {
    socket.connect();
    await until(() => getToken.mock.calls.length === round, "a token is asked for");
    if (round < 3) socket.disconnect();
  }
  first.open();
  second.open();
  await connected(socket);
  expect((await peer(0)).handshake.auth.token).toBe("in time");
  (await peer(0)).emit("end");
  await heard(socket, "end");
  expect([peers.length, getToken.mock.calls.length, failed.mock.calls]).toEqual([1, 3, []]);
});

test("after stop nothing is asked for, whatever the server says", async () => {
  const { client, peer } = await script();
  const socket = client();
  const getToken = jest.fn(() => "one");
  const keeper = useToken(socket, getToken);
  await connected(socket.connect());
  keeper.stop();
  const server = await peer(0);
  for (const event of ["sluice.expiring", "sluice.close", "end"]) server.emit(event, { code: 4510 });
  await heard(socket, "end");
  await new Promise((resolve) => setImmediate(resolve));
  expect(getToken).toHaveBeenCalledTimes(1);
  expect(socket.listeners("sluice.expiring").concat(socket.listeners("sluice.close"))).toEqual([]);
});

test("a connection that waits for a token when the keeper stops opens without one, and once", async () => {
  const { client, peer, peers } = await script();
  const token = gate();
  const socket = client({ auth: { device: 7 } });
  const getToken = jest.fn(() => token.passed.then(() => "late"));
  const keeper = useToken(socket, getToken);
  const open = connected(socket.connect());
  await until(() => getToken.mock.calls.length === 1, "a token is asked for");
  keeper.stop();
  await open;
  expect((await peer(0)).handshake.auth).toEqual({ device: 7 });
  token.open();
  (await peer(0)).emit("end");
  await heard(socket, "end");
  expect([peers.length, getToken.mock.calls.length]).toEqual([1, 1]);
});
