import { passesTheBalancerExam, type StartBalancer } from "./balancer-exam.ts";
import { configured, freePort, started } from "./programs.ts";

const start: StartBalancer = async ([first, second]) => {
  const port = await freePort();
  const file = configured("caddy/Caddyfile", [
    // The nodes are in one process with their clients, so each may be late on a machine that is busy.
    [/health_timeout 2s/, "health_timeout 20s"],
    [/10\.0\.0\.11:3000/g, `127.0.0.1:${first}`],
    [/10\.0\.0\.12:3000/g, `127.0.0.1:${second}`],
    [/^:3000/m, `http://:${port}`],
  ]);
  await started("caddy", ["run", "--adapter", "caddyfile", "--config", file], port);
  return { port };
};

passesTheBalancerExam("caddy", start, { asksForReadiness: true });
