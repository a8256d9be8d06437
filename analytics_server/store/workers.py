"""Threads for blocking calls to ClickHouse, shared fairly between tenants.

Owns the queue of calls and the threads. A tenant is a site; calls of the server's own have none (""). Tenants take
turns, and one of them never has all threads, so that a site's slow questions delay its own next ones, not those of
others. The engine in process looks at its time limit only between blocks of rows and can't be interrupted within
one: a call that outlives its limit is abandoned, which means that its thread goes on until the engine is done and then
ends, another thread takes its place, and the tenant gets no more room for it.

The threads are daemons: a process that stops does not wait for the engine. Thread-safe.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

MOST_ABANDONED = 16
"""So many abandoned calls get another thread in their place; beyond that, callers wait for the engine."""


class Closed(RuntimeError):
    """A call came after `close`."""


class Full(RuntimeError):
    """The tenant has too many calls waiting."""


@dataclass(eq=False, slots=True)
class _Call:
    tenant: str
    work: Callable[[], Any]
    future: Future[Any]
    is_running: bool = False
    is_abandoned: bool = False


class Workers:
    """At most `threads` calls at once, and of one tenant at most all but one; `most_waiting` of one tenant may wait.

    `on_exit` runs in a thread that ends.
    """

    def __init__(self, name: str, threads: int, *, most_waiting: int, on_exit: Callable[[], None]) -> None:
        self._name = name
        self._most = threads
        self._per_tenant = max(1, threads - 1)
        self._most_waiting = most_waiting
        self._on_exit = on_exit
        self._waiting: OrderedDict[str, deque[_Call]] = OrderedDict()
        self._running: Counter[str] = Counter()
        self._calls: dict[Future[Any], _Call] = {}
        self._changed = threading.Condition()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._busy = 0
        self._abandoned = 0
        self._started = 0
        self._closed = False

    def submit(self, work: Callable[[], T], tenant: str = "") -> Future[T]:
        """Run `work` in a thread when it is the tenant's turn. Raises `Closed`, or `Full` for a tenant."""
        future: Future[T] = Future()
        call = _Call(tenant, work, future)
        with self._changed:
            if self._closed:
                raise Closed
            if tenant and len(self._waiting.get(tenant, ())) >= self._most_waiting:
                raise Full
            self._waiting.setdefault(tenant, deque()).append(call)
            self._calls[future] = call
            if self._idle < sum(map(len, self._waiting.values())) and self._busy + self._idle < self._most:
                self._start()
            self._changed.notify()
        return future

    def abandon(self, future: Future[Any]) -> None:
        """The caller no longer waits: forget the call, or let another thread take its thread's place."""
        future.cancel()  # no more than that if it has not begun
        with self._changed:
            call = self._calls.get(future)
            if call is None or not call.is_running or call.is_abandoned or self._abandoned >= MOST_ABANDONED:
                return
            call.is_abandoned = True
            self._abandoned += 1
            self._busy -= 1
            if self._waiting and not self._closed:
                self._start()

    def close(self, wait_s: float) -> bool:
        """Take nothing more and wait for what runs; False if something still runs then."""
        with self._changed:
            self._closed = True
            left = [call for calls in self._waiting.values() for call in calls]
            self._waiting.clear()
            for call in left:
                self._calls.pop(call.future, None)
            self._changed.notify_all()
        for call in left:
            call.future.cancel()
        with self._changed:
            return self._changed.wait_for(lambda: not self._threads, timeout=wait_s)

    # ---- inside, with the lock held ------------------------------------

    def _start(self) -> None:
        self._started += 1
        thread = threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True)
        self._threads.add(thread)
        self._idle += 1  # so that two calls in a row start two threads
        thread.start()

    def _next(self) -> _Call | None:
        """The first call of the first tenant that may run one more; that tenant goes to the end of the line."""
        for tenant, calls in self._waiting.items():
            if tenant and self._running[tenant] >= self._per_tenant:
                continue
            call = calls.popleft()
            self._waiting.move_to_end(tenant)
            if not calls:
                del self._waiting[tenant]
            return call
        return None

    # ---- the threads ---------------------------------------------------

    def _work(self) -> None:
        try:
            while (call := self._take()) is not None:
                if call.future.set_running_or_notify_cancel():
                    self._run(call)
                if self._end(call):
                    return
        finally:
            self._on_exit()
            with self._changed:
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()

    def _take(self) -> _Call | None:
        with self._changed:
            while (call := self._next()) is None:
                if self._closed:
                    self._idle -= 1
                    return None
                self._changed.wait()
            self._idle -= 1
            self._busy += 1
            self._running[call.tenant] += 1
            call.is_running = True
            return call

    @staticmethod
    def _run(call: _Call) -> None:
        try:
            result = call.work()
        except BaseException as error:
            call.future.set_exception(error)
        else:
            call.future.set_result(result)

    def _end(self, call: _Call) -> bool:
        """True if the thread has been replaced and is no longer needed."""
        with self._changed:
            self._calls.pop(call.future, None)
            self._running[call.tenant] -= 1
            if not self._running[call.tenant]:
                del self._running[call.tenant]
            if call.is_abandoned:
                self._abandoned -= 1
            else:
                self._busy -= 1
                self._idle += 1
            self._changed.notify_all()  # the tenant may have calls that waited for this one
            return call.is_abandoned
