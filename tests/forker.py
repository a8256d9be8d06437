"""The process that `tests.preloaded` forks from: `python -m tests.forker SOCKET`.

It imports what servers, commands and fronts import, then forks a child for each order that comes, answers with the
child's process id, and writes the child's exit code into the pipe that came with the order. It ends when the socket is
closed; children that still run go on, as those of `subprocess` would.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import time

import msgspec

from tests.preloaded import LONGEST_MESSAGE, STATUS_BYTES, STREAMS, Order

WHOLE_PACKAGES = ("analytics_server.cli",)
MODULES = ("tests.clickhouse_front.faults", "clickhouse_connect.driver", "aiohttp.web", "uvloop")


def import_all() -> None:
    for name in WHOLE_PACKAGES:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(found.name)
    for name in MODULES:
        importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("an import has started a thread, which forks would lose")
    gc.collect()
    gc.freeze()


def fork_for_orders(control: socket.socket) -> Order | None:
    """Fork a child for each order: returns the order in the child, and None in the parent when the socket is closed."""
    wake_read, wake_write = socket.socketpair()
    for end in (wake_read, wake_write):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
    pipes: dict[int, int] = {}
    with selectors.DefaultSelector() as selector, wake_read, wake_write:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if wake_read in ready:
                wake_read.recv(4096)
                tell_exit_codes(pipes)
            if control not in ready:
                continue
            message, passed, _, _ = socket.recv_fds(control, LONGEST_MESSAGE, STREAMS + 1)
            if not message:
                return None
            *streams, pipe = passed
            if pid := os.fork():
                for fd in streams:
                    os.close(fd)
                pipes[pid] = pipe
                control.send(str(pid).encode())
                continue
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (*pipes.values(), pipe):
                os.close(fd)
            for target, fd in enumerate(streams):
                os.dup2(fd, target)
                os.close(fd)
            return msgspec.json.decode(message, type=Order)


def tell_exit_codes(pipes: dict[int, int]) -> None:
    """Of all children that have ended since; each has a pipe."""
    while pipes:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        pipe = pipes.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # the waiting process has gone
            os.write(pipe, os.waitstatus_to_exitcode(status).to_bytes(STATUS_BYTES, sys.byteorder, signed=True))
        os.close(pipe)


def become(order: Order) -> None:
    """Run its module as the interpreter would."""
    os.environ.clear()
    os.environ.update(order.environment)
    time.tzset()
    os.chdir(order.directory)
    sys.argv = [order.module, *order.arguments]
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    import_all()
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        mine = fork_for_orders(orders)
    if mine is not None:
        become(mine)
