"""A server whose key of the seals is lost or can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.test_service import verified
from tests.server import Client, RunningServer, wait_for


@pytest.mark.timeout(300)
async def test_a_seal_key_that_cannot_be_read_stops_no_server_and_a_lost_one_is_warned_of(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    server.start()
    path = server.data_dir / "audit" / "seal_key.json"
    assert path.is_file()
    assert server.terminate() == 0
    assert "audit log's seals" not in server.log
    path.rename(path.with_suffix(".saved"))
    path.mkdir()

    server.restart()
    async with Client(server) as client:
        assert (await client.call("POST", "/api/v1/tokens", {"role": "read"})).status == 201

        async def is_told() -> bool:
            metrics = (await client.get("/metrics")).body.decode()
            return 'daily_work_total{outcome="failed",work="audit-retention"} 1.0' in metrics

        await wait_for(is_told)
    assert server.terminate() == 0
    assert "key of the audit log's seals can't be read or made: no old entries are removed" in server.log
    checked = server.command("audit", "verify")
    assert checked.returncode == 1
    assert checked.stderr.startswith("Error: The key of the audit log's seals can't be read")
    path.rmdir()
    assert "a key of the audit log's seals is made" not in server.log

    server.restart()
    assert server.terminate() == 0
    assert "a key of the audit log's seals is made" in server.log
    assert verified(server)["ok"]
