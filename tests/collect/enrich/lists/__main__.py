"""Renews the lists from unpacked npm packages, if their folder is named, and prints what is made of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.collect.enrich.lists import FOLDER, measure

REGISTRY = "/project/"
"""In the address of a package registry's page, which no file of this repository names."""


def renew(packages: Path) -> None:
    """Write both lists and their licences from `user-agents` and `crawler-user-agents` in this folder."""
    real = json.loads((packages / "user-agents" / "dist" / "user-agents.json").read_bytes())
    lines = sorted({f"{entry['deviceCategory']}\t{entry['userAgent']}" for entry in real})
    (FOLDER / "browsers.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    known = json.loads((packages / "crawler-user-agents" / "crawler-user-agents.json").read_bytes())
    instances = {instance for entry in known for instance in entry.get("instances", [])}
    lines = sorted(instance for instance in instances if REGISTRY not in instance)
    (FOLDER / "crawlers.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    notes = ("browsers.tsv", "user-agents"), ("crawlers.txt", "crawler-user-agents")
    texts = [f"{file}: from the npm package {_described(packages / package)}" for file, package in notes]
    (FOLDER / "LICENSES.txt").write_text("\n\n".join(texts), encoding="utf-8")


def _described(package: Path) -> str:
    about = json.loads((package / "package.json").read_bytes())
    return f"{about['name']} {about['version']}\n\n{(package / 'LICENSE').read_text(encoding='utf-8').strip()}\n"


def main() -> None:
    """For the command line."""
    if len(sys.argv) > 1:
        renew(Path(sys.argv[1]))
    measured = measure()
    for user_agent in measured.false_bots:
        print(f"false bot: {user_agent}")
    for device, user_agent in measured.wrong_devices:
        print(f"not {device or 'without a device'}: {user_agent}")
    for user_agent in measured.missed:
        print(f"missed: {user_agent}")
    print(
        f"{measured.browsers} browsers: {len(measured.false_bots)} false bots, "
        f"{len(measured.wrong_devices)} wrong devices; "
        f"{measured.crawlers} crawlers: {measured.recall:.2%} recall"
    )


if __name__ == "__main__":
    main()
