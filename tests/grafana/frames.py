"""Answers as Grafana reads them: by `toDataFrame` of its own library, in Node.js."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

NODE = Path(__file__).parent / "node"
JSON_TYPES = {"time": (int,), "number": (int, float), "string": (str,), "boolean": (bool,)}


class ReadField(msgspec.Struct, frozen=True):
    """A field of a frame. `shown`: its name in a legend; `written`: its first number with its unit."""

    name: str
    type: Literal["time", "number", "string", "boolean"]
    unit: str | None
    labels: dict[str, str]
    shown: str
    written: str | None
    values: list[Any]


class ReadFrame(msgspec.Struct, frozen=True, rename="camel"):
    """What Grafana makes of an answer."""

    ref_id: str | None
    name: str | None
    length: int
    notices: list[dict[str, str]]
    fields: list[ReadField]


def data_frames(answers: Sequence[object]) -> list[ReadFrame]:
    """One per answer, each checked: fields of one length, and values of the type that the field says."""
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules" / "installed").is_file():
        pytest.skip("@grafana/data is not installed: `make test` does it where npm is there")
    done = subprocess.run(
        [node, "frames.mjs"],
        cwd=NODE,
        input=msgspec.json.encode(answers),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    frames = msgspec.json.decode(done.stdout, type=list[ReadFrame])
    assert len(frames) == len(answers)
    for frame in frames:
        assert frame.fields
        for field in frame.fields:
            assert len(field.values) == frame.length, field.name
            assert all(value is None or isinstance(value, JSON_TYPES[field.type]) for value in field.values), field.name
    return frames
