"""Ctrl-C and SIGTERM as a request to stop between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_requests(on_request: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether Ctrl-C or SIGTERM has requested a stop.

    A training stops between two steps only, since an update cannot be resumed from its middle. A second signal has its
    usual effect at once. Outside the main thread, where Python handles no signals, no stop is ever requested.

    Args:
        on_request: Called at once, in another thread, because the signal may interrupt the output of a line.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return

    def request(number: int, frame: Any) -> None:
        requested.set()
        signal.signal(number, handlers[number])
        threading.Thread(target=on_request, daemon=True).start()

    handled = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    handlers: dict[int, Any] = {number: signal.signal(number, request) for number in handled}
    try:
        yield requested.is_set
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
