"""A seal that was not made with the key is found: made up, moved to another chain, repeated, or changed."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from analytics_server.audit.chain import ChainHead, ChainRow, chained, moment
from analytics_server.audit.expiry import cut
from analytics_server.audit.log import AuditLog
from analytics_server.audit.seals import CUT, SealKey, SealKeyFile, read_seals
from analytics_server.audit.table import delete_until, insert_rows, rows_after, rows_of_action
from analytics_server.audit.verify import ChainReport, verify
from analytics_server.http.audit import AuditEntry
from analytics_server.store import Store
from tests.audit.conftest import DAY_US, Clock, an_entry, opened

KEY, OTHER_KEY = SealKey(key="ab" * 32), SealKey(key="cd" * 32)


async def reports(store: Store, *own: AuditLog, key: SealKey | None = KEY) -> dict[str, ChainReport]:
    found = await verify(store, [log.head for log in own], key=key)
    assert found.ok is all(chain.broken is None for chain in found.chains)
    return {chain.server: chain for chain in found.chains}


def faults(found: dict[str, ChainReport]) -> dict[str, str]:
    return {server: chain.broken.fault for server, chain in found.items() if chain.broken is not None}


async def hide(store: Store, head: ChainHead, victim: AuditLog, until: int, details: dict[str, str] | None) -> None:
    """Remove the first entries of a chain, and write a seal about that behind another one's head, or a new chain's."""
    (last,) = await rows_after(store, victim.head.server, until - 1, until=until, limit=1)
    cut_of = {victim.head.server: f"{last.sequence}:{last.hash}"}
    row, _ = chained(head, AuditEntry(action=CUT, details=cut_of if details is None else details), last.at_us)
    await insert_rows(store, [row], "forged")
    await delete_until(store, ChainHead(server=victim.head.server, sequence=until))


async def a_chain(store: Store, directory: Path, entries: int = 6) -> AuditLog:
    log = await opened(store, directory, Clock())
    for number in range(entries):
        log.note(an_entry(number))
    await log.write()
    return log


async def test_a_seal_that_is_made_up_hides_nothing_and_is_named(empty_migrated: Store, tmp_path: Path) -> None:
    """Each of a new victim, in a chain of its own and behind another server's head."""
    store = empty_migrated
    for number in range(8):
        own, other = (
            await a_chain(store, tmp_path / f"own{number}"),
            await a_chain(store, tmp_path / f"other{number}", 1),
        )
        (last,) = await rows_after(store, own.head.server, 2, until=3, limit=1)
        end = ChainHead(server=own.head.server, sequence=3, hash=last.hash)
        genuine = KEY.details(own.head.server, [end])
        details = (
            None,  # as of an old version
            OTHER_KEY.details("f" * 16, [end]),  # of an unknown key
            {**genuine, "seal": "m-" + "0" * 64},
            genuine,  # but moved
        )[number // 2]
        head = ChainHead(server=f"{number:016x}") if number % 2 else other.head

        await hide(store, head, own, 3, details)

        found = await reports(store, own)
        named = {server: fault for server, fault in faults(found).items() if server in (own.head.server, head.server)}
        assert named == {own.head.server: "removed", head.server: "forged seal"}, number
        broken = found[head.server].broken
        assert broken is not None
        assert (broken.sequence, broken.action) == (head.sequence + 1, CUT)


async def test_a_genuine_seal_that_is_repeated_or_changed_is_found(empty_migrated: Store, tmp_path: Path) -> None:
    store, clock = empty_migrated, Clock()
    log = await opened(store, tmp_path, clock)
    for number in range(5):
        await log.append(an_entry(number))
        clock.now_us += DAY_US
    own = [log.head]
    await cut(store, log, now=moment(clock.now_us), keep_days=3, key=KEY, own=own, server=log.head.server)
    await log.append(an_entry(9))
    found = (await reports(store, log))[log.head.server]
    assert (found.broken, found.is_seal_proven, found.sealed_until) == (None, True, 2)
    assert (await reports(store, log, key=OTHER_KEY))[log.head.server].broken is not None
    (seal,) = await rows_of_action(store, CUT)

    async def after(row: ChainRow) -> dict[str, str]:
        """The faults with such a row beside the others; it is taken away again."""
        await insert_rows(store, [row], f"changed-{row.sequence}")
        found = faults(await reports(store, log))
        await store.command(
            "ALTER TABLE audit DELETE WHERE sequence = {sequence:UInt64} SETTINGS mutations_sync = 2",
            {"sequence": row.sequence},
        )
        return found

    assert await after(msgspec.structs.replace(seal, sequence=seal.sequence + 2)) == {log.head.server: "edited"}
    further = seal.text.replace(f'"{log.head.server}":"2:', f'"{log.head.server}":"4:')
    assert further != seal.text
    assert await after(msgspec.structs.replace(seal, text=further, sequence=seal.sequence + 2)) == {
        log.head.server: "forged seal"
    }
    assert faults(await reports(store, log)) == {}


async def test_of_another_servers_chain_a_seal_counts_and_is_said_not_to_be_proven(
    empty_migrated: Store, tmp_path: Path
) -> None:
    store = empty_migrated
    own, other = await a_chain(store, tmp_path / "own"), await a_chain(store, tmp_path / "other")
    (last,) = await rows_after(store, other.head.server, 2, until=3, limit=1)
    end = ChainHead(server=other.head.server, sequence=3, hash=last.hash)
    await hide(store, other.head, other, 3, OTHER_KEY.details(other.head.server, [end]))
    grown = ChainHead(server=other.head.server, sequence=other.head.sequence)

    found = await verify(store, [own.head], key=KEY)
    (chain,) = [one for one in found.chains if one.server == other.head.server]
    assert (found.ok, chain.sealed_until, chain.is_seal_proven) == (True, 3, False)
    found = await verify(store, [grown], key=OTHER_KEY)  # on its own machine; so also where the key was copied to
    (chain,) = [one for one in found.chains if one.server == other.head.server]
    assert (chain.sealed_until, chain.is_seal_proven) == (3, True)


async def test_a_later_seal_carries_on_what_is_not_proven_and_does_not_prove_it(
    empty_migrated: Store, tmp_path: Path
) -> None:
    """The key was copied to both servers, and one of them cuts after a forgery about the other."""
    store, clock = empty_migrated, Clock()
    cutting, victim = await opened(store, tmp_path / "a", clock), await a_chain(store, tmp_path / "b")
    for number in range(6):
        await cutting.append(an_entry(number))
        clock.now_us += DAY_US
    maker = ChainHead(server="f" * 16)
    await hide(store, maker, victim, 3, None)
    before = faults(await reports(store, victim))
    assert before == {victim.head.server: "removed", maker.server: "forged seal"}

    for days in (4, 2):
        ends = await cut(
            store,
            cutting,
            now=moment(clock.now_us),
            keep_days=days,
            key=KEY,
            own=[cutting.head],
            server=cutting.head.server,
        )
        assert [end.server for end in ends] == [cutting.head.server]
        assert faults(await reports(store, victim)) == before
        await delete_until(store, ChainHead(server=maker.server, sequence=1))
        before = {victim.head.server: "removed"}

    found = await reports(store, cutting)
    assert faults(found) == {}
    own, other = found[cutting.head.server], found[victim.head.server]
    assert (own.sealed_until, own.is_seal_proven, other.sealed_until, other.is_seal_proven) == (4, True, 3, False)


async def test_what_seals_said_before_there_was_a_key_counts_and_no_more(empty_migrated: Store, tmp_path: Path) -> None:
    store = empty_migrated
    log, other = await a_chain(store, tmp_path / "a"), await a_chain(store, tmp_path / "b")
    await hide(store, other.head, log, 2, None)
    file = SealKeyFile(tmp_path / "a")
    assert file.read() is None
    key = file.make(await read_seals(store))
    assert file.read() == key
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    found = (await reports(store, log, key=key))[log.head.server]
    assert (found.broken, found.sealed_until, found.is_seal_proven) == (None, 2, False)

    head = ChainHead(server="f" * 16)
    await hide(store, head, log, 4, None)
    assert faults(await reports(store, log, key=key)) == {log.head.server: "removed", head.server: "forged seal"}


def test_a_damaged_key_is_refused_and_set_aside(tmp_path: Path) -> None:
    file = SealKeyFile(tmp_path)
    file.path.parent.mkdir()
    for body in (b"{", b'{"key":"abcd"}', b'{"key":"no hex"}'):
        file.path.write_bytes(body)
        with pytest.raises(ValueError, match="damaged"):
            file.read()
