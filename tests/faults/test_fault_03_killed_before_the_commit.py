"""3. SIGKILL between ClickHouse's deduplication record and its rename.

Verification finds 0, the batch is sent again, all rows are there.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults.conftest import Place
from tests.faults.trap import RENAMES, trap
from tests.server import Client


async def test_a_batch_whose_rename_never_happened_is_sent_again(place: Place, tmp_path: Path) -> None:
    await place.start("a.example")
    async with Client(place.server) as client:
        async with trap(place.engine_pid, tmp_path, RENAMES) as sprung:
            assert await place.send(client, "a.example", 50) == 202
        assert sprung.commits(place.engine_dir) == ([], "events")
    await place.restart_what_was_killed()
    await place.assert_balanced(51)
