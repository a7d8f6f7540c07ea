/** The same with Express, as most programs have it: what Sluice serves pages and routes with, too. */
import { once } from "node:events";
import { createServer } from "node:http";
import express from "express";
import { Server } from "socket.io";
import { tellStart } from "./tell-start.ts";

const http = createServer(express());
new Server(http).of("/chat").on("connection", () => {});
http.listen(0, "127.0.0.1");
await once(http, "listening");
tellStart();
