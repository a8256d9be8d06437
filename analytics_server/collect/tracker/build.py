"""Makes `a.js` from `tracker.js`: `python -m analytics_server.collect.tracker.build`.

A developer's tool: needs the development dependency `minify-go`, which the
server never imports. A test compares `a.js` with what this makes.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "tracker.js"
BUILT = FOLDER / "a.js"
MAX_GZIP_BYTES = 3_000


def build() -> str:
    """The minified script, names shortened, ending in a line break."""
    import minify  # type: ignore[import-untyped]

    minify.config({"js-version": 2017})
    return str(minify.string("text/javascript", SOURCE.read_text(encoding="utf-8"))) + "\n"


def gzip_bytes(script: str) -> int:
    """Size of the script as it travels, in bytes."""
    return len(gzip.compress(script.encode(), 9, mtime=0))


def main() -> int:
    script = build()
    size = gzip_bytes(script)
    if size > MAX_GZIP_BYTES:
        sys.stderr.write(f"a.js would be {size} bytes gzipped, more than {MAX_GZIP_BYTES}: nothing written.\n")
        return 1
    BUILT.write_text(script, encoding="utf-8")
    sys.stdout.write(f"{BUILT.name}: {len(script)} bytes, {size} gzipped.\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
