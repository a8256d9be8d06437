"""A command that gets its secrets as the program takes them: a file of settings, and standard input."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import PIPE

import msgspec

from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.e2e.heard import Heard
from tests.server import Client

TYPED = "marked typed umbrellas"


def note_process(heard: Heard, pid: int, about: str = "", names: tuple[str, ...] = ()) -> None:
    """What `ps` shows of a process, which any user of the machine can read, and other files that are named."""
    for name in ("cmdline", "comm", "status", *names):
        heard.note(f"/proc/{name}{about}", Path(f"/proc/{pid}/{name}").read_bytes())


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def settings_file(directory: Path, settings: Mapping[str, Mapping[str, str]]) -> Path:
    """A file with secrets in it that the owner alone may read. `settings`: by section."""
    file = directory / "config.toml"
    file.touch(mode=0o600)
    for section, values in settings.items():
        lines = [f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
        with file.open("a") as opened:
            opened.writelines(f"{line}\n" for line in lines)
    return file


async def typed_password(
    client: Client, front: ClickHouseFront, file: Path, site: str, heard: Heard, secrets: list[str]
) -> None:
    """A link with a password is made by a command that is held while it knows all of its secrets, and looked at."""
    front.faults.add(Fault(kind="stall", statement="insert", contains="people", when="before"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANALYTICS_")}
    arguments = ("share", "create", site, "--password-stdin", "--config", str(file))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "analytics_server", *arguments), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=clean
    )
    try:
        assert process.stdin is not None
        process.stdin.write(f"{TYPED}\n".encode())
        await process.stdin.drain()
        await asyncio.to_thread(front.faults.wait_stalled)
        for pid in family(process.pid):
            note_process(heard, pid, " of a command", ("environ",))
        front.faults.release()
        out, errors = await process.communicate()
    finally:
        front.faults.clear()
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors
    assert b"--password-stdin" in heard.said["/proc/cmdline of a command"]
    assert heard.said["/proc/environ of a command"]
    heard.note("a command's errors", errors)
    secret = out.decode().strip().rpartition("/")[2]
    secrets.append(secret)

    async def status(**password: str) -> int:
        body = msgspec.json.encode({"secret": secret, **password})
        reply = await client.request("POST", "/api/v1/share/open", body, {"Authorization": ""})
        if reply.status == 200:  # the token is told to who opens it
            secrets.append(str(reply.json["token"]).rpartition(".")[2])
        else:
            heard.reply("a share link", reply)
        return reply.status

    assert (await status(), await status(password=TYPED)) == (401, 200)
