FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
# zod is the demo's, not the framework's: the one development dependency that runs.
RUN npm run build \
  && find dist -name '*.d.ts' -delete -o -name '*.map' -delete \
  && mv node_modules/zod /tmp/zod \
  && npm prune --omit=dev --no-audit --no-fund \
  && mv /tmp/zod node_modules/zod

FROM node:24-bookworm-slim
WORKDIR /app
# A worker answers the health check, too, and nothing else.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 HEALTH_PORT=3000
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY --from=build /app/public public
USER node
EXPOSE 3000
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/livez`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# Node itself gets SIGTERM. As process 1 it reaps no strangers' children: run it with an init
# (docker run --init, init: true) if something starts programs in here.
CMD ["node", "dist/src/cli.js", "start", "dist/routing/app.js"]
