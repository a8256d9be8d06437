"""`make audit-dependencies`: asks the package index which locked versions have known vulnerabilities.

The index's JSON description of a release lists them, with the versions that mend them; nothing but names and versions
is sent. The index is pip's own, or the one that pip is configured for, if it describes releases. Exit code 1 for
findings, 0 for none and where the index does not answer: a machine without a network has no findings to be stopped by,
and is told what was not looked at.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LOCKS = ("runtime.txt", "dev.txt", "build.txt", "geo.txt")
TIMEOUT_S = 10.0
MOST_FAILURES = 3
"""Of answers that don't come: after so many the index counts as out of reach."""
ACCEPTED: dict[str, str] = {}
"""Identifiers that do not concern this program, with the reason."""
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """A known fault of one locked version."""

    package: str
    version: str
    identifier: str
    fixed_in: tuple[str, ...]
    aliases: tuple[str, ...]

    @property
    def is_accepted(self) -> bool:
        return not ACCEPTED.keys().isdisjoint({self.identifier, *self.aliases})

    def __str__(self) -> str:
        mended = f"mended in {', '.join(self.fixed_in)}" if self.fixed_in else "not mended yet"
        return f"{self.package} {self.version}: {self.identifier} ({', '.join(self.aliases) or 'no alias'}), {mended}"


def locked(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Every package and version that is pinned, once."""
    return sorted({(name.lower(), version) for text in texts for name, version in _PINNED.findall(text)})


def read(package: str, version: str, document: bytes) -> list[Vulnerability]:
    """What a release's description says. Raises `ValueError` for anything else."""
    found = json.loads(document)
    if not isinstance(found, dict) or "vulnerabilities" not in found:
        raise ValueError("no description of a release")
    return [
        Vulnerability(package, version, one["id"], tuple(one.get("fixed_in", ())), tuple(one.get("aliases", ())))
        for one in found["vulnerabilities"]
        if not one.get("withdrawn")
    ]


def index_address() -> str:
    """Where releases are described: at the configured index, else at pip's own."""
    from pip._internal.models.index import PyPI

    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    configured = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return re.sub(r"/simple/?$", "/pypi", configured) if configured else str(PyPI.pypi_url)


def audit(packages: Iterable[tuple[str, str]], address: str) -> tuple[list[Vulnerability], list[str]]:
    """Findings, and the packages about which nothing was learnt."""
    found: list[Vulnerability] = []
    unknown: list[str] = []
    failures = 0
    for package, version in packages:
        if failures == MOST_FAILURES:
            unknown.append(package)
            continue
        try:
            with urllib.request.urlopen(f"{address}/{package}/{version}/json", timeout=TIMEOUT_S) as answer:
                found += read(package, version, answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            unknown.append(package)
        except (OSError, ValueError):
            failures += 1
            unknown.append(package)
    return [one for one in found if not one.is_accepted], unknown


def main() -> int:
    """Print what is known of the locks; returns the exit code."""
    directory = Path(__file__).resolve().parent.parent.parent / "requirements"
    packages = locked((directory / name).read_text(encoding="utf-8") for name in LOCKS)
    found, unknown = audit(packages, index_address())
    for one in found:
        print(one)
    if unknown:
        print(f"The index said nothing about {len(unknown)} of {len(packages)} packages: {', '.join(unknown[:10])} …")
    print(f"{len(packages) - len(unknown)} packages looked up, {len(found)} known vulnerabilities.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
