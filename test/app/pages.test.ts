import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createApplication } from "sluice";
import { createServer, type Server } from "sluice/server";
import { pages } from "../../routing/pages.ts";
import { chatRoutes } from "../../routing/routes.ts";
import { clientFiles } from "../browser/client-files.ts";

describe("The demo's pages", () => {
  let server: Server;
  let url: string;
  let client: Awaited<ReturnType<typeof clientFiles>>;
  beforeAll(async () => {
    client = await clientFiles();
    server = createServer(createApplication({ routes: chatRoutes() }), { port: 0 });
    server.express.use(pages({ clientFolder: client.folder }));
    ({ url } = await server.listen());
  });
  afterAll(async () => {
    await server.stop();
    await client.remove();
  });

  test.each([
    ["/", "text/html", "Open a room and start talking"],
    ["/rooms/x", "text/html", 'data-testid="composer"'],
    ["/rooms/a.b-c_D9", "text/html", 'data-testid="composer"'],
    ["/favicon.svg", "image/svg+xml", "<svg"],
    ["/style.css", "text/css", ":root"],
    ["/js/room.js", "text/javascript", "import "],
    ["/sluice/client/index.js", "text/javascript", "recover"],
    ["/sluice/client/recovery.js", "text/javascript", "recover"],
  ])("%s is %s, under a policy that runs no inline script", async (path, type, content) => {
    const response = await fetch(url + path);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toContain(type);
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'self'");
    expect(policy).toContain("object-src 'none'");
    expect(policy).not.toMatch(/unsafe|script-src/);
    expect(await response.text()).toContain(content);
  });

  test("the client comes from the server itself", async () => {
    const response = await fetch(`${url}/socket.io/socket.io.esm.min.js`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toContain("javascript");
    expect(await response.text()).toContain("export{");
  });

  test("no page has an inline script or style, which the policy would not run", async () => {
    for (const path of ["/", "/rooms/x"]) {
      const html = await (await fetch(url + path)).text();
      expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=/i);
    }
  });

  test.each(["/nowhere", "/rooms", "/rooms/", "/rooms/a/b", "/package.json", "/js/", "/.git/config"])(
    "%s is not found",
    async (path) => {
      const response = await fetch(url + path);
      expect(response.status).toBe(404);
      expect(await response.text()).not.toMatch(/ at .*\.[jt]s:\d/);
    },
  );

  test("no encoding of .. leads out of the folder", async () => {
    for (const path of ["/..%2fpackage.json", "/%2e%2e%2fpackage.json", "/rooms/..%2f..%2fpackage.json"]) {
      const response = await fetch(url + path);
      expect(await response.text()).not.toContain('"version"');
    }
  });

  test("an address that can't be decoded is a bad request without a stack", async () => {
    const response = await fetch(`${url}/rooms/%E0%A4%A`);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ error: { code: "bad_request", message: expect.any(String) } });
  });
});
