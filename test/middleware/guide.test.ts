/** The guide as a newcomer follows it: its first program runs as it stands. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { blockOf, Project } from "../guides.ts";
import { connected, heard, refusalOf, stock } from "../server/live-server.ts";
import { SECRET } from "./browser.ts";

jest.setTimeout(90_000);

let project: Project;

beforeAll(async () => {
  project = await Project.make("express");
});
afterAll(() => project.close());

test("its first program logs a browser in and out, and knows it in the chat", async () => {
  const code = await blockOf("docs/authentication.md", "js");
  expect(code).toMatch(/^\/\/ app.js\n/);
  await project.write("app.js", code);
  const program = project.start(["app.js"], { env: { PORT: "0", SLUICE_SECRET: SECRET } });
  const url = await program.says(/^Listening: (http:\S+)$/m);
  const post = (path: string, body: object, headers: Record<string, string> = { origin: url }) =>
    fetch(url + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
  const right = { name: "Ann", password: "correct horse" };
  expect((await post("/login", { ...right, password: "wrong" })).status).toBe(401);
  expect((await post("/login", right, { origin: "https://evil.example" })).status).toBe(403);
  expect((await refusalOf(stock(`${url}/chat`))).data).toMatchObject({ code: 4401 });

  const [, curl = ""] = (await blockOf("docs/authentication.md", "sh", "curl -i")).trim().split("\n");
  const { stdout } = await promisify(execFile)("sh", ["-c", curl.replaceAll("http://127.0.0.1:3000", url)]);
  const [, line = ""] = /^Set-Cookie: (.*?)\r?$/im.exec(stdout) ?? [];
  expect(line).toMatch(/; HttpOnly; SameSite=Lax$/);
  const cookie = line.split(";")[0] as string;
  const socket = await connected(stock(`${url}/chat`, { extraHeaders: { cookie } }));
  const said = heard(socket, "said");
  expect(await socket.emitWithAck("say", "hello")).toEqual({ sent: true });
  expect(await said).toEqual([{ from: "Ann", text: "hello" }]);
  const close = heard(socket, "sluice.close");
  expect((await post("/logout", {}, { origin: url, cookie })).status).toBe(204);
  expect(await close).toEqual([{ code: 4510, reason: "the session has ended" }]);
});
