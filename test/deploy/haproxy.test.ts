import { passesTheBalancerExam, type StartBalancer } from "./balancer-exam.ts";
import { configured, freePort, started } from "./programs.ts";

const start: StartBalancer = async (nodes) => {
  const port = await freePort();
  const servers = nodes.map((node, n) => `  server app${n + 1} 127.0.0.1:${node}`).join("\n");
  const file = configured("haproxy/haproxy.cfg", [
    [/bind :3000/, `bind 127.0.0.1:${port}`],
    // The nodes are in one process with their clients, so each may be late on a machine that is busy.
    [/timeout check 2s/, "timeout check 20s"],
    // Docker's DNS is not here.
    [/ {2}server-template app .*/, servers],
  ]);
  await started("haproxy", ["-db", "-f", file], port);
  return { port };
};

passesTheBalancerExam("haproxy", start, { asksForReadiness: true });
