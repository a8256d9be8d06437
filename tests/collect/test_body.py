"""Compressed bodies: read whole or refused, never larger than allowed."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.body import decompress
from analytics_server.errors import RequestError, TooLarge, UnsupportedMedia


@given(plain=st.binary(max_size=500), split=st.integers(0, 500), level=st.integers(0, 9))
def test_reads_what_was_compressed(plain: bytes, split: int, level: int) -> None:
    squeezer = zlib.compressobj(level, wbits=-15)
    bare = squeezer.compress(plain) + squeezer.flush()

    assert decompress(gzip.compress(plain, level), "gzip", 500) == plain
    assert decompress(gzip.compress(plain[:split]) + gzip.compress(plain[split:]), "gzip", 500) == plain
    assert decompress(zlib.compress(plain, level), "deflate", 500) == plain
    assert decompress(bare, "deflate", 500) == plain
    assert decompress(plain, "identity", 0) == plain


@given(body=st.binary(max_size=300), encoding=st.sampled_from(["gzip", "deflate"]))
def test_anything_else_is_refused_in_an_orderly_way(body: bytes, encoding: str) -> None:
    plain = b""
    with contextlib.suppress(RequestError):  # 400 or 413
        plain = decompress(body, encoding, 100)
    assert len(plain) <= 100


@given(cut=st.integers(0, 60))
def test_a_body_cut_short_is_refused(cut: int) -> None:
    whole = gzip.compress(b"some text that is long enough to be cut anywhere")
    with pytest.raises(RequestError):
        decompress(whole[: min(cut, len(whole) - 1)], "gzip", 1_000)


@pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False)])
def test_the_limit_is_exact(size: int, fits: bool) -> None:
    body = gzip.compress(bytes(size))
    if fits:
        assert len(decompress(body, "gzip", 100)) == size
    else:
        with pytest.raises(TooLarge):
            decompress(body, "gzip", 100)


def test_a_bomb_costs_no_memory() -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decompress(bomb, "gzip", 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, deflate", "x" * 1_000])
def test_other_encodings_are_named_and_refused(encoding: str) -> None:
    with pytest.raises(UnsupportedMedia) as refused:
        decompress(b"", encoding, 100)

    assert len(str(refused.value)) < 200
