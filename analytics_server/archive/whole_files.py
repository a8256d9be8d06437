"""Atomic files: there as a whole or not at all, and the manifest that names them.

A file is written under a name that readers of directories pass over (it begins with a dot), synced to the disk, and put
in its place; then the directory is synced. A crash at any moment leaves the old file, the new one, or none.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from analytics_server.errors import AnalyticsError

PIECE_BYTES = 1024 * 1024
PART_ID_BYTES = 6
PARTS = ".*.part"
"""A pattern of files that are being written, or were left by a crash."""


class WrittenFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a manifest. `events`: how many the server had of it when it was written; `sha256`: hex."""

    name: str
    bytes: int
    sha256: str
    written_at: str
    events: int = 0


AnyManifest = TypeVar("AnyManifest", bound=msgspec.Struct)


def new_part(path: Path) -> Path:
    """A name under which a file is written: one that no other writer of the file has."""
    return path.with_name(f".{path.name}.{secrets.token_hex(PART_ID_BYTES)}.part")


def remove_parts(directory: Path, *, older_than_s: float = 0.0) -> None:
    """Remove what crashes left of files that were being written. Blocking. Raises `OSError`."""
    for part in directory.glob(PARTS):
        if not older_than_s or part.lstat().st_mtime < time.time() - older_than_s:
            part.unlink(missing_ok=True)


def is_whole(path: Path, size: int) -> bool:
    """Is the file there, as long as it was written?"""
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False


async def _always() -> bool:
    return True


async def write_whole(
    path: Path, pieces: AsyncIterable[bytes], *, may_place: Callable[[], Awaitable[bool]] = _always
) -> tuple[int, str] | None:
    """Write a file of these pieces; its size, and its SHA-256 in hex. No write holds up the event loop.

    `may_place` is asked once the file is whole: where it says no, the file of before stays, and the answer is None.
    Raises `OSError`, and what the pieces and `may_place` raise; what was begun is removed.
    """
    part, digest, size = new_part(path), hashlib.sha256(), 0
    try:
        with await asyncio.to_thread(part.open, "wb") as file:

            def write(data: bytes) -> None:
                file.write(data)
                digest.update(data)

            waiting = bytearray()
            async for piece in pieces:
                waiting += piece
                if len(waiting) >= PIECE_BYTES:
                    await asyncio.to_thread(write, bytes(waiting))
                    size += len(waiting)
                    waiting.clear()
            await asyncio.to_thread(write, bytes(waiting))
            size += len(waiting)
            await asyncio.to_thread(_sync, file)
        if not await may_place():
            await asyncio.to_thread(part.unlink, missing_ok=True)
            return None
        await asyncio.to_thread(_put_in_place, part, path)
    except Exception:
        await asyncio.to_thread(part.unlink, missing_ok=True)
        raise
    return size, digest.hexdigest()


def replace_whole(path: Path, data: bytes) -> None:
    """Write a small file of these bytes. Blocking. Raises `OSError`."""
    part = new_part(path)
    try:
        with part.open("wb") as file:
            file.write(data)
            _sync(file)
        _put_in_place(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, so that a crash does not take them away again. Raises `OSError`."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises `OSError`."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_manifest(path: Path, manifest: msgspec.Struct) -> None:
    """Put a manifest in its place. Blocking. Raises `OSError`."""
    replace_whole(path, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read_manifest(path: Path, type_: type[AnyManifest]) -> AnyManifest | None:
    """The manifest that is there. Blocking. Raises `AnalyticsError` (bad_manifest) for one that can't be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AnalyticsError(
            f"{path} can't be read: {reason}. Choose another directory, or put it right.", code="bad_manifest"
        ) from error


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put_in_place(part: Path, path: Path) -> None:
    part.replace(path)
    sync_directory(path.parent)
