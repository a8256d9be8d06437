"""The engine in process stands back behind the event loop: its threads compete with it for the same cores.

A thread inherits the nice value of the one that starts it, so it suffices that those who call the engine have it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

NICE = 10
"""Added to the process's own: about a ninth of the share of the event loop where cores are scarce."""

MOST_NICE = 19


def stand_back() -> None:
    """Lower the priority of the calling thread, where threads have one of their own (Linux)."""
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, os.getpid())
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(own + NICE, MOST_NICE))
