/**
 * Type tests: what middleware needs of others, and consumers of it. A line under `@ts-expect-error` that
 * compiles is an error.
 */
import {
  type ApplicationOptions,
  Consumer,
  createApplication,
  http,
  include,
  type Middleware,
  mark,
  route,
  sse,
} from "sluice";
import {
  authenticate,
  bearerToken,
  limitConnections,
  requireOrigin,
  requireUser,
  type Session,
  type session,
  sessionUser,
  type TokenUser,
} from "sluice/middleware";

interface User {
  readonly id: string;
}

declare const find: (id: string) => User | undefined;
declare const sessions: ReturnType<typeof session<{ cart: string[] }>>;
const secret = "a secret that all nodes of a test share";
const bySession = authenticate(sessionUser(find));
const byToken = bearerToken({ secret, audience: "a", issuer: "b" });
const guard = requireUser();
const plain: Middleware = (_scope, next) => next({ user: "ann" });

class Open extends Consumer {}
class Members extends Consumer<{ user: User }> {}
class Guests extends Consumer<{ user: User | undefined }> {}
class Strangers extends Consumer<{ user: { readonly name: number } }> {}
class Tokens extends Consumer<{ user: TokenUser }> {}

// In the right order, wherever they are.
createApplication({ middleware: [sessions, bySession, guard], routes: [route("/a", Members)] });
createApplication({ middleware: [sessions, bySession], routes: [route("/a", Guests), route("/b", Open)] });
createApplication({
  middleware: [sessions, bySession],
  routes: [route("/a", Members, { middleware: [guard] })],
});
createApplication({ middleware: [byToken, guard], routes: [route("/a", Tokens), sse("/s", Tokens)] });
createApplication({ middleware: [requireOrigin([]), limitConnections({ perAddress: 1 })], routes: [] });
createApplication({
  middleware: [sessions],
  routes: [
    include(
      "/a",
      [route("/b", Members, { middleware: [guard] }), http("/p", () => {}, { middleware: [guard] })],
      {
        middleware: [bySession],
      },
    ),
  ],
});

// @ts-expect-error the session comes too late
createApplication({ middleware: [bySession, sessions], routes: [] });
// @ts-expect-error nobody adds a session
createApplication({ middleware: [bySession], routes: [] });
// @ts-expect-error nobody adds a user
createApplication({ middleware: [sessions, guard], routes: [] });
// @ts-expect-error nobody adds a user to that route
createApplication({ routes: [route("/a", Open, { middleware: [guard] })] });
// @ts-expect-error nor here
createApplication({ middleware: [sessions], routes: [route("/a", Open, { middleware: [guard] })] });
// @ts-expect-error nor to that stream
createApplication({ middleware: [sessions], routes: [sse("/a", Open, { middleware: [guard] })] });
// @ts-expect-error nor to that page
createApplication({ middleware: [sessions], routes: [http("/a", () => {}, { middleware: [guard] })] });
// @ts-expect-error nor to what is included
createApplication({ routes: [include("/a", [route("/b", Open)], { middleware: [guard] })] });
// @ts-expect-error nor to what is in there
createApplication({ routes: [include("/a", [route("/b", Open, { middleware: [guard] })])] });
// @ts-expect-error a limit for each user needs one
createApplication({ middleware: [limitConnections({ perUser: 1 })], routes: [] });
// @ts-expect-error the user may be nobody
createApplication({ middleware: [sessions, bySession], routes: [route("/a", Members)] });
// @ts-expect-error the user is another
createApplication({ middleware: [sessions, bySession, guard], routes: [route("/a", Strangers)] });
const twice = [route("/a", Strangers, { middleware: [bySession, guard] })] as const;
// @ts-expect-error the user is another there, too
createApplication({ middleware: [sessions], routes: twice });
const guarded = [route("/a", Strangers, { middleware: [guard] })] as const;
// @ts-expect-error and there
createApplication({ middleware: [sessions, bySession], routes: guarded });
// @ts-expect-error and there
createApplication({ routes: [include("/a", [route("/b", Strangers)], { middleware: [byToken, guard] })] });

// A plain function may add anything; so may lists that are put together elsewhere.
createApplication({ middleware: [plain, guard], routes: [route("/a", Strangers)] });
createApplication({ middleware: [(_scope, next) => next()], routes: [route("/a", Members)] });
createApplication({ routes: [route("/a", Members)] });
declare const elsewhere: ApplicationOptions;
createApplication(elsewhere);
createApplication({ ...elsewhere, connectTimeoutMs: 1 });

// One of your own.
const tenant = mark<{ readonly state: { readonly tenant: string } }, { readonly user: User | undefined }>(
  { requires: ["user"], provides: ["state"] },
  (_scope, next) => next({ state: { tenant: "x" } }),
);
createApplication({ middleware: [sessions, bySession, tenant], routes: [] });
// @ts-expect-error it needs a user
createApplication({ middleware: [sessions, tenant], routes: [] });

// Strategies see what they need.
authenticate((scope: { readonly session: Session<{ cart: string[] }> }) => {
  // @ts-expect-error no such value
  scope.session.data.crat;
  return { id: String(scope.session.data.cart?.length) };
});
