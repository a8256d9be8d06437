"""Whatever is done to a stored chain is found, and the first entry concerned is named."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_server.audit import verify as verifying
from analytics_server.audit.chain import ChainHead, ChainRow, canonical, hash_text, known_heads
from analytics_server.audit.routes import AuditRecord
from analytics_server.audit.table import delete_until, insert_rows, rows_after
from analytics_server.audit.verify import BrokenEntry, verify
from analytics_server.store import Store
from tests.audit.conftest import an_entry, opened

ENTRIES = 12
CHANGES = ("text", "rehashed", "hash", "column", "at", "remove", "swap", "twice", "cut", "none")


def changed_entry(row: ChainRow) -> bytes:
    """The text with another principal, as canonical as before."""
    entry = msgspec.json.decode(f'{row.text[:-1]},"hash":""}}', type=AuditRecord)
    linked = msgspec.structs.asdict(entry)
    del linked["hash"]
    from analytics_server.audit.chain import ChainedEntry

    return canonical(ChainedEntry(**{**linked, "principal_name": "Someone else"}))


def tampered(rows: list[ChainRow], change: str, at: int) -> tuple[list[ChainRow], int | None]:
    """The rows after the change, and the number of the first entry that is wrong."""
    row, replace = rows[at], msgspec.structs.replace
    match change:
        case "text":
            return [*rows[:at], replace(row, text=changed_entry(row).decode()), *rows[at + 1 :]], row.sequence
        case "rehashed":  # by someone who knows how: the next entry, or the head, no longer fits
            text = changed_entry(row)
            return [
                *rows[:at],
                replace(row, text=text.decode(), hash=hash_text(text)),
                *rows[at + 1 :],
            ], min(row.sequence + 1, len(rows))
        case "hash":
            return [*rows[:at], replace(row, hash="0" * 64), *rows[at + 1 :]], row.sequence
        case "column":
            return [*rows[:at], replace(row, site_id="other.example"), *rows[at + 1 :]], row.sequence
        case "at":
            return [*rows[:at], replace(row, at_us=row.at_us + 1), *rows[at + 1 :]], row.sequence
        case "remove":
            return [*rows[:at], *rows[at + 1 :]], row.sequence
        case "swap":
            other = rows[at - 1]
            moved = {
                other.sequence: replace(row, sequence=other.sequence),
                row.sequence: replace(other, sequence=row.sequence),
            }
            return [moved.get(each.sequence, each) for each in rows], min(row.sequence, other.sequence)
        case "twice":
            return [*rows, row], row.sequence
        case "cut":
            return rows[:at], row.sequence
        case _:
            return rows, None


async def found_after(store: Store, change: str, at: int) -> tuple[BrokenEntry | None, int | None]:
    with tempfile.TemporaryDirectory() as name:
        log = await opened(store, Path(name))
        for number in range(ENTRIES):
            log.note(an_entry(number))
        await log.write()
        server = log.head.server
        rows, expected = tampered(await rows_after(store, server, 0, until=ENTRIES, limit=ENTRIES), change, at)
        await delete_until(store, log.head)
        if rows:
            await insert_rows(store, rows, "")
        report = await verify(store, known_heads(Path(name)))
        (own,) = [chain for chain in report.chains if chain.server == server]
        await delete_until(store, log.head)
        return own.broken, expected


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=st.sampled_from(CHANGES), at=st.integers(0, ENTRIES - 1))
def test_every_change_is_found_and_named(store_on_loop: tuple[Store, asyncio.Runner], change: str, at: int) -> None:
    store, runner = store_on_loop
    broken, expected = runner.run(found_after(store, change, at))

    assert (broken and broken.sequence) == expected, (change, broken)


async def test_pages_are_joined_without_a_gap(store: Store, tmp_path: Path, monkeypatch: object) -> None:
    log = await opened(store, tmp_path)
    for number in range(25):
        log.note(an_entry(number))
    await log.write()
    seen: list[tuple[int, int]] = []
    page, verifying.PAGE = verifying.PAGE, 10
    try:
        report = await verify(store, [log.head], advance=lambda done, total: seen.append((done, total)))
    finally:
        verifying.PAGE = page

    (own,) = [chain for chain in report.chains if chain.server == log.head.server]
    assert (own.entries, own.broken, own.is_head_known) == (25, None, True)
    assert seen[-1][0] == seen[-1][1]


async def test_a_chain_of_which_nothing_is_left_is_found_by_its_head(store: Store) -> None:
    report = await verify(store, [ChainHead(server="feedfeedfeedfeed", sequence=3, hash="a" * 64)])

    (own,) = [chain for chain in report.chains if chain.server == "feedfeedfeedfeed"]
    assert own.broken is not None
    assert (own.broken.fault, own.broken.sequence) == ("newest removed", 1)
    assert not report.ok
