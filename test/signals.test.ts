import { describe, expect, test } from "@jest/globals";
import { Signal } from "sluice";

describe("a signal", () => {
  test("tells its receivers in the order of connecting, and returns what they made of it", async () => {
    const paid = new Signal<{ id: number }>("paid");
    const first = ({ id }: { id: number }) => `first ${id}`;
    const second = async ({ id }: { id: number }) => `second ${id}`;
    paid.connect(first);
    paid.connect(second);
    expect(await paid.send({ id: 1 })).toEqual([
      { receiver: first, value: "first 1" },
      { receiver: second, value: "second 1" },
    ]);
  });

  test("tells nobody who has disconnected, and nobody twice", async () => {
    const signal = new Signal<number>("n");
    const heard: number[] = [];
    const receiver = (n: number) => void heard.push(n);
    const disconnect = signal.connect(receiver);
    signal.connect(receiver);
    await signal.send(1);
    disconnect();
    await signal.send(2);
    expect(heard).toEqual([1]);
    expect(signal.hasReceivers).toBe(false);
  });

  test("tells those who asked for a sender only what that sender announces", async () => {
    const [ann, bob] = [{}, {}];
    const signal = new Signal<string>("said");
    const heard: string[] = [];
    signal.connect((text) => heard.push(`ann: ${text}`), { sender: ann });
    signal.connect((text) => heard.push(`all: ${text}`));
    await signal.send("a", ann);
    await signal.send("b", bob);
    await signal.send("c");
    expect(heard).toEqual(["ann: a", "all: a", "all: b", "all: c"]);
  });

  test("send ends with the first error", async () => {
    const signal = new Signal<number>("n");
    const heard: string[] = [];
    signal.connect(() => {
      throw new Error("no");
    });
    signal.connect(() => heard.push("second"));
    await expect(signal.send(1)).rejects.toThrow("no");
    expect(heard).toEqual([]);
  });

  test("sendRobust isolates errors, sync and async, and returns them", async () => {
    const signal = new Signal<number>("n");
    const [sync, later] = [new Error("sync"), new Error("later")];
    signal.connect(() => {
      throw sync;
    });
    signal.connect(() => Promise.reject(later));
    signal.connect((n) => n * 2);
    const outcomes = await signal.sendRobust(21);
    expect(outcomes.map((o) => ("error" in o ? o.error : o.value))).toEqual([sync, later, 42]);
  });

  test("announce waits for nobody, never throws, and hands errors on", async () => {
    const errors: unknown[] = [];
    const signal = new Signal<number>("n", (error, name) => errors.push([error, name]));
    const heard: number[] = [];
    signal.connect(() => {
      throw "sync";
    });
    signal.connect(() => Promise.reject("later"));
    signal.connect((n) => void heard.push(n));
    signal.announce(1);
    expect(heard).toEqual([1]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(errors).toEqual([
      ["sync", "n"],
      ["later", "n"],
    ]);
  });

  test("a receiver may disconnect others while it runs", async () => {
    const signal = new Signal<number>("n");
    const heard: string[] = [];
    let disconnect = () => {};
    signal.connect(() => disconnect());
    disconnect = signal.connect(() => heard.push("second"));
    await signal.send(1);
    await signal.send(2);
    expect(heard).toEqual(["second"]);
  });
});
