"""Canonical texts, hashes, and the file of the head."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.audit.chain import SERVER_CHAIN, ChainHead, HeadFile, chained, known_heads
from analytics_server.audit.export import export_line
from analytics_server.http.audit import AuditEntry
from tests.audit.conftest import START_US

texts = st.text(max_size=40)
HEAD = ChainHead(server="0011223344556677", sequence=6, hash="ab" * 32)


@given(
    st.builds(
        AuditEntry,
        action=st.just("query_site"),
        principal_name=texts,
        resource=texts,
        site_id=texts,
        rows=st.none() | st.integers(0, 2**53),
        details=st.dictionaries(texts, texts, max_size=3),
    )
)
def test_anyone_can_work_out_the_hash_of_an_exported_line(entry: AuditEntry) -> None:
    row, head = chained(HEAD, entry, START_US)

    line = json.loads(export_line(row))
    stated = line.pop("hash")
    text = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert hashlib.sha256(text.encode()).hexdigest() == stated == head.hash == row.hash
    assert (line["sequence"], line["previous"]) == (7, HEAD.hash)


def test_an_entry_is_one_line_of_bounded_length() -> None:
    row, _ = chained(HEAD, AuditEntry(action="x", principal_name="a\nb\u2028c\x85" + "d" * 10_000), START_US)

    assert "\\n" not in row.text
    assert "\\u" not in row.text
    assert len(row.text) < 1_000


def test_the_head_survives_and_a_late_one_does_not_replace_it(tmp_path: Path) -> None:
    file = HeadFile(tmp_path, SERVER_CHAIN)
    made = file.read_or_make()
    newer = ChainHead(server=made.server, sequence=2, hash="b")

    file.write(newer)
    file.write(ChainHead(server=made.server, sequence=1, hash="a"))

    assert HeadFile(tmp_path, SERVER_CHAIN).read_or_make() == newer
    assert known_heads(tmp_path) == [newer]


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b'{"server": 1}'])
def test_a_damaged_head_is_set_aside_and_a_new_chain_begins(tmp_path: Path, damage: bytes) -> None:
    file = HeadFile(tmp_path, SERVER_CHAIN)
    before = file.read_or_make()
    file.path.write_bytes(damage)

    after = HeadFile(tmp_path, SERVER_CHAIN).read_or_make()

    assert after.server != before.server
    assert file.path.with_suffix(".damaged").read_bytes() == damage
