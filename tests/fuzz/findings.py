"""Running one input: what counts as a finding, and how it is told so that it can be run again."""

from __future__ import annotations

import hashlib
import time
import traceback
from dataclasses import dataclass

from tests.fuzz.targets import Target

MOST_CPU_S = 1.0
"""Of processor time for one input: a busy machine does not count, time that grows with the square of a length does."""


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """An input that did what none may do."""

    target: str
    data: bytes
    what: str

    @property
    def file_name(self) -> str:
        return f"{self.target}-{hashlib.sha256(self.data).hexdigest()[:16]}"


def examine(target: Target, data: bytes) -> Fuzzed | None:
    """Run one input; None if all is well. What was too slow is tried once more: the first time may load something."""
    data = data[: target.most_bytes]
    found = ""
    for _ in range(2):
        started = time.process_time()
        try:
            target.read(data)
        except target.declared:
            pass
        except Exception:
            return Fuzzed(target.name, data, traceback.format_exc())
        spent = time.process_time() - started
        if spent <= MOST_CPU_S:
            return None
        found = f"It took {spent:.1f} s of processor time; {MOST_CPU_S:g} s are allowed."
    return Fuzzed(target.name, data, found)
