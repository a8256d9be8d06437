"""`/readyz` is 503 whenever a beacon would be refused, and 200 again when it would be taken, without a restart."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Client, RunningServer, wait_for

SITE = "ready.example"


class Volume:
    """A file system of its own for the log; a plain directory where none can be mounted, as for users but root."""

    def __init__(self, directory: Path) -> None:
        self.wal_dir = directory / "wal"
        self._directory = directory
        self.is_mounted = not self._run("mount", "-t", "tmpfs", "-o", "size=4194304", "tmpfs")
        self._covered = False

    def _run(self, *command: str) -> int:
        return subprocess.run([*command, str(self._directory)], capture_output=True, check=False).returncode

    def refuse(self, fault: str) -> str:
        """Let nothing be written any more; returns what the error says."""
        if not self.is_mounted:
            self.wal_dir.chmod(0o500)
            return "Permission denied"
        if fault == "full":
            with (self._directory / "filler").open("wb", buffering=0) as filler:
                while filler.write(bytes(min(4_096, shutil.disk_usage(self._directory).free))):
                    pass
            return "No space left on device"
        assert not self._run("mount", "--bind", str(self._directory))
        self._covered = True
        assert not self._run("mount", "-o", "remount,bind,ro")
        return "Read-only file system"

    def allow(self) -> None:
        """Undo `refuse`."""
        if not self.is_mounted:
            self.wal_dir.chmod(0o700)
        if self._covered:
            assert not self._run("umount", "--lazy")
            self._covered = False
        (self._directory / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        if self._covered:
            self._run("umount", "--lazy")
        if self.is_mounted:
            self._run("umount", "--lazy")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    directory = tmp_path / "disk"
    directory.mkdir()
    made = Volume(directory)
    yield made
    made.close()


def serving(tmp_path: Path, wal_dir: Path, request: pytest.FixtureRequest, **settings: str) -> RunningServer:
    made = RunningServer(tmp_path / "server", {"ingest_wal_dir": str(wal_dir), **settings})
    request.addfinalizer(made.kill)
    return made


async def ready(client: Client) -> tuple[bool, str]:
    """What /readyz says, with the reason."""
    reply = await client.get("/readyz")
    return reply.status == 200, str(reply.json.get("reason", ""))


async def until_ready(client: Client, wanted: bool) -> str:
    async def is_so() -> bool:
        return (await ready(client))[0] is wanted

    await wait_for(is_so, what=f"readiness {wanted}")
    return (await ready(client))[1]


async def taken(client: Client) -> bool:
    return (await client.send({"site": SITE, "name": "x"})).status == 202


@pytest.mark.parametrize("with_beacons", [False, True], ids=["idle", "with beacons"])
@pytest.mark.parametrize("fault", ["read-only", "full"])
async def test_a_disk_that_takes_no_write_is_noticed_and_its_recovery_too(
    fault: str, with_beacons: bool, tmp_path: Path, volume: Volume, request: pytest.FixtureRequest
) -> None:
    server = serving(tmp_path, volume.wal_dir, request, ingest_wal_min_free_mb="0", ingest_flush_interval_ms="200")
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        assert await taken(client)
        await client.flushed()
        assert (await ready(client))[0]
        said = volume.refuse(fault)
        if with_beacons:
            assert not await taken(client)
        assert said in await until_ready(client, False)
        assert not await taken(client)

        volume.allow()
        await until_ready(client, True)
        assert await taken(client)
        await client.kept(SITE, 2)
    assert server.terminate() == 0


@pytest.mark.parametrize("fault", ["removed", "moved away", "replaced"])
async def test_a_directory_that_is_gone_takes_no_beacon(
    fault: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What is written to a removed segment would be acknowledged, and lost."""
    wal_dir, aside = tmp_path / "wal", tmp_path / "aside"
    server = serving(tmp_path, wal_dir, request, ingest_flush_interval_ms="3600000")
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        assert await taken(client)
        wal_dir.rename(aside)
        if fault == "removed":
            shutil.rmtree(aside)
        elif fault == "replaced":
            wal_dir.mkdir()
        reason = await until_ready(client, False)
        assert "removed or replaced" in reason
        reply = await client.send({"site": SITE, "name": "x"})
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")

        if fault == "moved away":
            aside.rename(wal_dir)
            await until_ready(client, True)
            assert await taken(client)


async def test_the_logs_limit_makes_it_not_ready(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server = serving(tmp_path, tmp_path / "wal", request, ingest_wal_max_mb="1", ingest_flush_interval_ms="3600000")
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        assert (await ready(client))[0]
        events = [{"site": SITE, "name": "x", "props": {f"p{number}": "x" * 1_000 for number in range(40)}}] * 20

        async def refused() -> bool:
            return (await client.send({"events": events})).status == 503

        await wait_for(refused, what="a refusal")
        assert "wal_max_mb" in await until_ready(client, False)


async def test_no_probe_is_left_behind(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server = serving(tmp_path, tmp_path / "wal", request)
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        assert (await ready(client))[0]
    assert server.terminate() == 0
    assert sorted(path.name for path in (tmp_path / "wal").iterdir()) == ["lock"]
