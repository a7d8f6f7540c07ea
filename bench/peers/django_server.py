"""
Django Channels as one contender: `django_server.py daphne|uvicorn memory|redis|pubsub`.

It answers the benchmark's requests, JSON in lines, on the descriptor that NODE_CHANNEL_FD names.
"""
import asyncio
import gc
import json
import os
import resource
import socket
import sys
import time
from urllib.parse import parse_qs

import django
from django.conf import settings

SERVER, LAYER = sys.argv[1:3]
CHANNEL = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
TEXT = "x" * (100 - len('{"n":"10000000","text":""}'))
# More than are ever under way; what is beyond it, the layers throw away.
CAPACITY = 10_000


def layer_settings(redis_url):
    if LAYER == "memory":
        return {
            "BACKEND": "channels.layers.InMemoryChannelLayer",
            "CONFIG": {"capacity": CAPACITY},
        }
    backend = {"redis": "core.RedisChannelLayer", "pubsub": "pubsub.RedisPubSubChannelLayer"}[LAYER]
    config = {"hosts": [redis_url], "capacity": CAPACITY}
    return {"BACKEND": f"channels_redis.{backend}", "CONFIG": config}


def receive_request(buffer=bytearray()):
    """The next one, waiting for it."""
    while b"\n" not in buffer:
        buffer += CHANNEL.recv(65536)
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    return json.loads(line)


# The first request says where Redis is, which the settings must know.
FIRST = receive_request()
settings.configure(
    SECRET_KEY="only for measuring, so everybody may know it",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": layer_settings(FIRST["input"].get("redisUrl"))},
)
if SERVER == "daphne":
    from daphne.server import Server as Daphne  # before anything else of Twisted
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402


def group(room):
    return f"chat.{room}"


def text_of(payload, kind="m"):
    return json.dumps({"t": kind, **payload}, separators=(",", ":"))


class Chat(AsyncWebsocketConsumer):
    async def connect(self):
        query = parse_qs(self.scope["query_string"].decode())
        self.rooms = query["rooms"][0].split(",")
        for room in self.rooms:
            await self.channel_layer.group_add(group(room), self.channel_name)
        await self.accept()
        await self.send(text_data='{"t":"w"}')

    async def disconnect(self, code):
        for room in self.rooms:
            await self.channel_layer.group_discard(group(room), self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        said = json.loads(text_data)
        kind = said.pop("t")
        if kind == "broadcast":
            await self.channel_layer.group_send(group(0), message(text_of(said)))
        await self.send(text_data=text_of(said, "a"))

    async def chat_message(self, event):
        await self.send(text_data=event["text"])


def message(text):
    return {"type": "chat.message", "text": text}


async def publish(order):
    layer = get_channel_layer()
    sent_at = []
    started = time.monotonic()
    while len(sent_at) < order["count"]:
        for _ in range(min(order["perTurn"], order["count"] - len(sent_at))):
            number = len(sent_at)
            sent_at.append(time.monotonic() * 1000)
            text = text_of({"n": str(10_000_000 + number), "text": TEXT})
            await layer.group_send(group(number % order["rooms"]), message(text))
        due = started + len(sent_at) / order["perTurn"] * order["everyMs"] / 1000
        await asyncio.sleep(max(0, due - time.monotonic()))
    return sent_at


async def usage(_input=None):
    spent = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return {
        "cpuUs": (spent.ru_utime + spent.ru_stime) * 1e6,
        "rssBytes": pages * resource.getpagesize(),
        "heapBytes": 0,
    }


async def collect(_input=None):
    gc.collect()
    return await usage()


VERBS = {"publish": publish, "usage": usage, "collect": collect}
UNDER_WAY = set()


def send(answer):
    CHANNEL.setblocking(True)
    CHANNEL.sendall(json.dumps(answer).encode() + b"\n")
    CHANNEL.setblocking(False)


async def answer(request):
    try:
        value = await VERBS[request["verb"]](request.get("input"))
        send({"id": request["id"], "value": value})
    except Exception as error:
        send({"id": request["id"], "error": repr(error)})


def begin_to_answer(buffer=bytearray()):
    loop = asyncio.get_event_loop()

    def read():
        received = CHANNEL.recv(65536)
        if not received:
            os._exit(0)
        buffer.extend(received)
        *lines, rest = bytes(buffer).split(b"\n")
        buffer[:] = rest
        for line in lines:
            task = loop.create_task(answer(json.loads(line)))
            UNDER_WAY.add(task)
            task.add_done_callback(UNDER_WAY.discard)

    CHANNEL.setblocking(False)
    loop.add_reader(CHANNEL, read)


def main():
    application = ProtocolTypeRouter({"websocket": URLRouter([path("chat", Chat.as_asgi())])})
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    port = listener.getsockname()[1]

    def ready():
        begin_to_answer()
        send({"id": FIRST["id"], "value": {"port": port}})

    if SERVER == "daphne":
        listener.setblocking(False)
        endpoint = f"fd:fileno={listener.fileno()}"
        server = Daphne(application, endpoints=[endpoint], ready_callable=ready, signal_handlers=False)
        server.run()
    else:
        import uvicorn

        config = uvicorn.Config(application, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)

        async def serve():
            asyncio.get_running_loop().call_soon(ready)
            await server.serve(sockets=[listener])

        config.setup_event_loop()
        asyncio.run(serve())


main()
