import { passesTheBalancerExam, type StartBalancer } from "./balancer-exam.ts";
import { configured, folder, freePort, started } from "./programs.ts";

const start: StartBalancer = async ([first, second]) => {
  const port = await freePort();
  const file = configured("nginx/nginx.conf", [
    [/10\.0\.0\.11:3000/g, `127.0.0.1:${first}`],
    [/10\.0\.0\.12:3000/g, `127.0.0.1:${second}`],
    [/10\\\.0\\\.0\\\.11:3000/, `127\\.0\\.0\\.1:${first}`],
    [/10\\\.0\\\.0\\\.12:3000/, `127\\.0\\.0\\.1:${second}`],
    [/listen 3000/, `listen 127.0.0.1:${port}`],
  ]);
  const own = folder();
  const settings = `daemon off; pid ${own}/pid; error_log stderr warn;`;
  await started("nginx", ["-e", "stderr", "-c", file, "-g", settings], port);
  return { port };
};

passesTheBalancerExam("nginx", start, { asksForReadiness: false });
