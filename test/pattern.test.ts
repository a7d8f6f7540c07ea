import { describe, expect, test } from "@jest/globals";
import { Pattern } from "../src/pattern.ts";

describe("a pattern", () => {
  test.each([
    ["/", "/", {}],
    ["/chat/:room", "/chat/lobby", { room: "lobby" }],
    ["/chat/:room", "/chat/caf%C3%A9%20x", { room: "café x" }],
    ["/users/:id(int)", "/users/007", { id: 7 }],
    ["/posts/:slug(slug)/edit", "/posts/my-post_1/edit", { slug: "my-post_1" }],
    ["/files/:rest(path)", "/files/a/b/c", { rest: "a/b/c" }],
    ["/archive/:year(int)?", "/archive", {}],
    ["/archive/:year(int)?", "/archive/2024", { year: 2024 }],
    ["/a/:b?/:c?", "/a/x", { b: "x" }],
    [
      "/d/:id(uuid)",
      "/d/2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d",
      { id: "2c5ea4c0-4067-11e9-8bad-9b1deb4d3b7d" },
    ],
  ])("%s matches %s", (pattern, path, params) => {
    expect(new Pattern(pattern).match(path)).toEqual(params);
  });

  test.each([
    ["/chat/:room", "/chat"],
    ["/chat/:room", "/chat/"],
    ["/chat/:room", "/chat/a/b"],
    ["/chat/:room", "/chat/a%2Fb"],
    ["/chat/:room", "/chat/%E0%A4%A"],
    ["/chat/:room", "/prefix/chat/a"],
    ["/chat/:room", "/Chat/a"],
    ["/chat/:room", "chat/a"],
    ["/users/:id(int)", "/users/1x"],
    ["/users/:id(int)", "/users/9999999999999999"],
    ["/users/:id(int)", "/users/-1"],
    ["/files/:rest(path)", "/files/"],
    ["/files/:rest(path)", "/files"],
    ["/", "/a"],
    ["/", ""],
  ])("%s does not match %s", (pattern, path) => {
    expect(new Pattern(pattern).match(path)).toBeUndefined();
  });

  test("formats what it matches, encoded", () => {
    expect(new Pattern("/chat/:room").format({ room: "café x" })).toBe("/chat/caf%C3%A9%20x");
    expect(new Pattern("/users/:id(int)").format({ id: 7 })).toBe("/users/7");
    expect(new Pattern("/files/:rest(path)").format({ rest: "a b/c" })).toBe("/files/a%20b/c");
    expect(new Pattern("/archive/:year(int)?").format({})).toBe("/archive");
    expect(new Pattern("/").format({})).toBe("/");
  });

  test("says what is wrong with parameters", () => {
    const user = new Pattern("/users/:id(int)");
    expect(() => user.format({})).toThrow('needs the parameter "id"');
    expect(() => user.format({ id: "x" })).toThrow('"x" is no int for "id"');
    expect(() => user.format({ id: 1, room: 2 })).toThrow('has no parameter "room"');
    expect(() => new Pattern("/chat/:room").format({ room: "a/b" })).toThrow("is no str");
  });

  test.each([
    ["chat", 'must begin with "/"'],
    ["/chat/", 'has the segment ""'],
    ["/chat/:", 'the parameter ":"'],
    ["/chat/:room(colour)", "one of str, int, slug, uuid, path"],
    ["/chat/room-:id", "a segment is plain text or"],
    ["/:a/:a", 'has the parameter "a" twice'],
    ["/:a?/b", "optional parameters stand at the end"],
    ["/:rest(path)/b", "comes last"],
  ])("%s is refused: %s", (source, reason) => {
    expect(() => new Pattern(source)).toThrow(reason);
  });

  test.each([
    ["/chat/:room", "/chat/lobby", true],
    ["/chat/:room", "/chat/:id(int)", true],
    ["/chat/:id(int)", "/chat/:room", false],
    ["/chat/:id(int)", "/chat/7", true],
    ["/chat/:id(int)", "/chat/lobby", false],
    ["/:rest(path)", "/chat/:room", true],
    ["/:rest(path)", "/", false],
    ["/a/:b?", "/a", true],
    ["/a", "/a/:b?", false],
    ["/a/:b?", "/a/:c?", true],
    ["/:x/b", "/a/:y", false],
  ])("%s covers %s: %s", (earlier, later, covers) => {
    expect(new Pattern(earlier).covers(new Pattern(later))).toBe(covers);
  });
});
