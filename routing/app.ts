/** The composition root: the one place that reads the environment and chooses. */
import { ConfigurationError, createApplication, createLogger, logSignals } from "sluice";
import { createServer } from "sluice/server";
import { pages } from "./pages.ts";
import { chatRoutes } from "./routes.ts";

const { HOST, PORT, LOG_LEVEL } = process.env;

try {
  const logger = createLogger(LOG_LEVEL || undefined);
  const app = createApplication({ routes: chatRoutes() });
  logSignals(app.signals, logger);
  const server = createServer(app, {
    ...(HOST ? { host: HOST } : {}),
    ...(PORT ? { port: Number(PORT) } : {}),
  });
  server.express.use(pages());
  const { url } = await server.listen();
  process.stdout.write(`Sluice chat: ${url}\n`);

  let isStopping = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      // Asked twice: at once.
      if (isStopping) process.exit(1);
      isStopping = true;
      void server.stop().then(() => process.exit(0));
    });
  }
} catch (error) {
  if (!(error instanceof ConfigurationError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
