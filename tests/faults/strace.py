"""Faults put into a server's system calls by strace: a kill at the nth call, or an error instead of it.

A kill at a call comes before the call takes effect, so the calls in turn are all the
states that a kill can leave. Calls are counted per thread from the moment of attaching:
what happens before (the start, the engine's own files) doesn't move the count.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

ATTACH_TIMEOUT_S = 20.0


class Injection(msgspec.Struct, frozen=True):
    """What happens at the `when`th call (strace's notation: `2+` is every one from the second)."""

    call: str
    fault: str = "signal=SIGKILL"
    when: str = "1"

    @property
    def option(self) -> str:
        return f"--inject={self.call}:{self.fault}:when={self.when}"


def options(injections: Sequence[Injection], log: Path, paths: Sequence[Path] = ()) -> list[str]:
    """Strace's options; with `paths` only calls on these files are looked at."""
    calls = ",".join(dict.fromkeys(injection.call for injection in injections))
    chosen = [f"--trace-path={path}" for path in paths]
    return ["-y", f"--trace={calls}", "-o", str(log), *chosen, *(injection.option for injection in injections)]


def under(injections: Sequence[Injection], log: Path, paths: Sequence[Path] = ()) -> list[str]:
    """What to start a server under, so that all its threads are watched from the beginning.

    The process keeps its number and its exit code. Calls that are not watched cost nothing, but only without kills.
    """
    quick = [] if any("signal" in injection.fault for injection in injections) else ["--seccomp-bpf"]
    return ["strace", "-D", "-f", *quick, *options(injections, log, paths)]


@contextmanager
def attached(
    thread: int, injections: Sequence[Injection], log: Path, paths: Sequence[Path] = (), *, others: bool = False
) -> Iterator[None]:
    """Watch one thread of a running server; with `others` all threads of its process."""
    follow = ["-f"] if others else []
    command = ["strace", "-p", str(thread), *follow, *options(injections, log, paths)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert "attached" in said, said
            yield
        finally:
            process.terminate()
            process.wait(ATTACH_TIMEOUT_S)


def killed_at(log: Path) -> str:
    """The call under way when the process was killed, as strace wrote it; empty when none was."""
    calls = re.findall(r"^(?:\d+ +)?(\w+\(.*?)\s*(?:<unfinished \.\.\.>|= \?)$", log.read_text(), re.MULTILINE)
    return calls[-1] if calls and "killed by SIGKILL" in log.read_text() else ""


def thread_that_opens(pid: int, suffix: str, log: Path) -> int:
    """Of a trace of `openat`: the thread that created a file with this ending."""
    found = re.findall(rf"^(\d+) +openat\([^\n]*{re.escape(suffix)}\", [^\n]*O_EXCL", log.read_text(), re.MULTILINE)
    assert found, f"no thread of {pid} created a file"
    return int(found[-1])
