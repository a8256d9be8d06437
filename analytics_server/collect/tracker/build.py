"""Makes `a.js` and `extras.min.js` of `tracker.js` and `extras.js`: `python -m analytics_server.collect.tracker.build`.

A developer's tool: needs the development dependency `minify-go`, which the
server never imports. A test compares the built files with what this makes.
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path

from analytics_server.collect.tracker import fill

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "tracker.js"
BUILT = FOLDER / "a.js"
EXTRAS_SOURCE = FOLDER / "extras.js"
EXTRAS_BUILT = FOLDER / "extras.min.js"
MAX_GZIP_BYTES = 3_000

_NUMBER = re.compile(r"^ *const ([A-Z_]{3,}) = ([\d.e]+);.*\n", re.MULTILINE)
"""A named number in the source: the minifier keeps names, so the build puts the numbers in their places."""


def build(source: Path = SOURCE) -> str:
    """The minified script, names shortened, ending in a line break."""
    import minify  # type: ignore[import-untyped]

    minify.config({"js-version": 2019})
    return str(minify.string("text/javascript", _inline_numbers(source.read_text(encoding="utf-8")))) + "\n"


def gzip_bytes(script: str) -> int:
    """Size of the script as it travels, in bytes."""
    return len(gzip.compress(script.encode(), 9, mtime=0))


def _inline_numbers(text: str) -> str:
    numbers = dict(_NUMBER.findall(text))
    text = _NUMBER.sub("", text)
    return re.sub(r"\b[A-Z_]{3,}\b", lambda match: numbers.get(match[0], match[0]), text)


def main() -> int:
    """Write both files; 1 when the script has become too large."""
    script, extras = build(), build(EXTRAS_SOURCE)
    size = gzip_bytes(fill(script, "/track", "/a.js"))
    if size > MAX_GZIP_BYTES:
        sys.stderr.write(f"a.js would be {size} bytes gzipped, more than {MAX_GZIP_BYTES}: nothing written.\n")
        return 1
    BUILT.write_text(script, encoding="utf-8")
    EXTRAS_BUILT.write_text(extras, encoding="utf-8")
    sys.stdout.write(f"{BUILT.name}: {len(script)} bytes, {size} gzipped.\n")
    sys.stdout.write(f"{EXTRAS_BUILT.name}: {len(extras)} bytes, {gzip_bytes(extras)} gzipped.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
