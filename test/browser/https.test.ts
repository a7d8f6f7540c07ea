import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "@jest/globals";
import { testNeeding } from "../needing.ts";
import { describeInBrowser, eventually, startChat } from "./chat-in-browser.ts";

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

async function secureServer(): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-certificate-"));
  const [keyFile, certificateFile] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  try {
    execFileSync(
      "openssl",
      [
        "req",
        "-x509",
        ...curve,
        "-nodes",
        "-days",
        "2",
        ...subject,
        "-keyout",
        keyFile,
        "-out",
        certificateFile,
      ],
      { stdio: "pipe" },
    );
    const server = createServer({ key: readFileSync(keyFile), cert: readFileSync(certificateFile) });
    await once(server.listen(0, "127.0.0.1"), "listening");
    return server;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describeInBrowser("The chat over https, seen in a browser", () => {
  const testWithOpenssl = testNeeding(hasOpenssl, "install openssl");
  testWithOpenssl("on a server with a certificate the chat is live over wss:", async () => {
    const https = await secureServer();
    try {
      const chat = await startChat({ https });
      expect(chat.url).toMatch(/^https:/);
      const profile = { ignoreHTTPSErrors: true };
      const ada = await chat.enter("secure", "Ada", { profile });
      const bob = await chat.enter("secure", "Bob", { profile });
      for (const window of [ada, bob]) {
        await eventually(() => expect(window.webSockets.size).toBe(1));
        const [socket] = window.webSockets;
        expect(socket?.url()).toMatch(new RegExp(`^wss:${chat.url.slice("https:".length)}/socket.io/`));
      }
      await ada.say("psst");
      await eventually(async () => expect(await bob.messages()).toEqual(["Ada: psst"]));
      await bob.is("live");
    } finally {
      https.closeAllConnections();
      https.close();
    }
  });
});
