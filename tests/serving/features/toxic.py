"""A TCP proxy that does to one connection what networks and broken servers do."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Toxic = Literal["none", "latency", "reset", "blackhole", "half", "trickle", "garbage", "refuse"]
LATENCY_S = 0.4
_RESET = struct.pack("ii", 1, 0)
_GARBAGE = b"HTTP/1.1 400 Bad Request\r\nServer: not redis\r\n\r\n"


class ToxicProxy:
    """Forwards to a port of this machine; what ``toxic`` says is done to every answer.

    latency: each answer comes late. reset: the connection is reset instead of an answer. blackhole:
    nothing comes. half: the first half of an answer comes, then the end. trickle: a byte at a time.
    garbage: something else comes. refuse: connections are closed as soon as they are made.
    """

    def __init__(self, target: int) -> None:
        self.toxic: Toxic = "none"
        self.port = 0
        self.tasks: set[asyncio.Task[None] | None] = set()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self._stop = asyncio.Event()
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._pair, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close in the round after

    async def _pair(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())  # the loop itself forgets those it waits for
        try:
            if self.toxic != "refuse":
                await self._forward(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        asking = asyncio.ensure_future(_copy(reader, upstream))
        try:
            while data := await server.read(1 << 16):
                await self._answer(data, writer)
        finally:
            asking.cancel()
            upstream.close()

    async def _answer(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        toxic = self.toxic
        if toxic == "latency":
            await asyncio.sleep(LATENCY_S)
        elif toxic == "reset":
            linger: socket.socket = writer.get_extra_info("socket")
            linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            raise ConnectionResetError
        elif toxic == "half":
            writer.write(data[: len(data) // 2])
            await writer.drain()
            raise ConnectionResetError
        elif toxic == "trickle":
            for place in range(len(data)):
                writer.write(data[place : place + 1])
                await asyncio.sleep(0.005)
        if toxic != "blackhole":
            writer.write(_GARBAGE if toxic == "garbage" else b"" if toxic == "trickle" else data)
            await writer.drain()

    def hang_up(self) -> None:
        """Close what is connected."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self.tasks if task])

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@contextmanager
def proxied(target: int) -> Iterator[ToxicProxy]:
    """A proxy for the length of a block."""
    proxy = ToxicProxy(target)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
