"""`python -m tests.soak --minutes 10 [--seed N] [--backend embedded|server|both]`.

Exit code 1 when the invariant was broken; what was found there is kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.soak.audit import Verdict, table
from tests.soak.stage import run_stage


async def soak(
    backends: list[str], directory: Path, *, seconds: float, events_per_s: float, seed: int
) -> list[Verdict]:
    """One stage after another, each with its share of the time."""
    verdicts = []
    for backend in backends:
        print(f"soaking {backend} for {seconds / len(backends):.0f} s", flush=True)
        verdicts.append(
            await run_stage(
                backend,
                directory / backend,
                seconds=seconds / len(backends),
                events_per_s=events_per_s,
                seed=seed,
            )
        )
    return verdicts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of traffic, both backends together")
    parser.add_argument("--seed", type=int, default=None, help="what happens, and in which order; printed")
    parser.add_argument("--backend", choices=("embedded", "server", "both"), default="both")
    parser.add_argument("--events-per-s", type=float, default=400.0)
    parser.add_argument("--directory", type=Path, default=None, help="an empty one, kept afterwards")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
    backends = ["embedded", "server"] if arguments.backend == "both" else [arguments.backend]
    print(f"seed {seed}", flush=True)
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="soak-"))
    verdicts = asyncio.run(
        soak(backends, directory, seconds=arguments.minutes * 60, events_per_s=arguments.events_per_s, seed=seed)
    )
    print(table(verdicts))
    breaches = [f"{verdict.backend}: {breach}" for verdict in verdicts for breach in verdict.breaches()]
    for breach in breaches:
        print(breach, file=sys.stderr)
    if breaches:
        print(f"BROKEN (seed {seed}); the data is kept in {directory}", file=sys.stderr)
        return 1
    if arguments.directory is None:
        shutil.rmtree(directory, ignore_errors=True)
    print("Every acknowledged event is there exactly once.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
