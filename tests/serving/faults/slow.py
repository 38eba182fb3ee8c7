"""Slow clients in a process of their own, so that they take no time from those beside them:
``python -m tests.serving.faults.slow PORT NUMBER``.

It says once all are connected and have sent what they begin with; each sends a byte a second,
whenever its turn is, or reads nothing, until a line comes in; then it says how many were cut off.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Sequence
from itertools import cycle

from tests.child import tell
from tests.serving.http.wire import Wire, request

HEADERS = b"POST /v1/rank HTTP/1.1\r\nhost: te"
BODY = request("POST", "/v1/rank", content_length="5000") + b"{"
READS = request("GET", "/console/app.js") * 200
"""Of which none is read."""
SEGMENT = 1400
"""Bytes a packet, as over a network: the kernel makes room for whole answers by the thousand where
a packet has 64 KiB, as on loopback, and who does not read would be waited for by nobody."""


def connected(port: int, first: bytes) -> Wire:
    wire = Wire(None, receive_buffer=4096)
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    wire.connect(port)
    wire.send(first)
    return wire


def drip(wires: Sequence[Wire], over: threading.Event) -> set[Wire]:
    """Those that the server hung up on."""
    cut = set[Wire]()
    for wire in cycle(wires):
        if over.wait(1 / len(wires)):
            break
        try:
            wire.send(b" ")
        except ConnectionError:
            cut.add(wire)
    return cut


def main() -> None:
    port, number = (int(each) for each in sys.argv[1:])
    over = threading.Event()
    with contextlib.ExitStack() as held:
        by_kind = [
            [held.enter_context(connected(port, first)) for _ in range(number // 3)]
            for first in (HEADERS, BODY, READS)
        ]
        tell({"connected": sum(map(len, by_kind))})

        def wait() -> None:
            sys.stdin.readline()
            over.set()

        threading.Thread(target=wait).start()
        cut = drip([*by_kind[0], *by_kind[1]], over)
        tell({"cut": len(cut)})


if __name__ == "__main__":
    main()
