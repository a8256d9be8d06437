"""`make fuzz`: mutates known inputs for a while and prints each one that crashes a reader or takes too long.

`python -m tests.fuzz --seconds 60 [--target url] [--seed N]`; `--input FILE --target url` runs one input again. What
is found is written to `.build/fuzz/`; once mended, its file belongs into `tests/fuzz/corpus/`, which the tests run.
Exit code 1 if anything was found.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from tests.fuzz.findings import Fuzzed, examine
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import MAKERS, Target

FOUND = Path(".build") / "fuzz"
MOST_FOUND = 5
"""Of one target: the same fault is found again and again."""


def fuzz(target: Target, seconds: float, seed: int) -> tuple[int, list[Fuzzed]]:
    """So many inputs were tried, and these are findings. Seeds come first, unchanged."""
    rand, tried = random.Random(f"{target.name} {seed}"), 0
    found: list[Fuzzed] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(found) < MOST_FOUND:
        data = target.seeds[tried] if tried < len(target.seeds) else mutate(rand, target.seeds)
        tried += 1
        if finding := examine(target, data):
            found.append(finding)
    return tried, found


def tell(finding: Fuzzed) -> None:
    """Keep the input, and print what it did and how to run it again."""
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / finding.file_name
    path.write_bytes(finding.data)
    print(f"\n{finding.what.strip()}\n  input    {finding.data[:300]!r}{' …' if len(finding.data) > 300 else ''}")
    print(f'  again    make fuzz ARGS="--target {finding.target} --input {path}"', flush=True)


def main() -> int:
    """Run the targets one after the other, or one input; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--target", choices=list(MAKERS), action="append")
    parser.add_argument("--input", type=Path)
    arguments = parser.parse_args()
    failed = False
    for name in arguments.target or list(MAKERS):
        target = MAKERS[name]()
        if arguments.input is not None:
            finding = examine(target, arguments.input.read_bytes())
            tried, found = 1, [finding] if finding else []
        else:
            tried, found = fuzz(target, arguments.seconds, arguments.seed)
        for one in found:
            tell(one)
        failed |= bool(found)
        print(f"{name:12} {tried:9,} inputs, {len(found)} findings (seed {arguments.seed})", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
