"""Files that a server keeps beside ClickHouse's tables, with what they hold and for how long.

A test holds the patterns against the files of a server that has worked.
"""

from __future__ import annotations

from analytics_server.privacy.report.stored import ALWAYS, DataClass, KeptFor, StoredFile

_T, _P = DataClass.TECHNICAL, DataClass.PERSONAL
_EVENTS = "Events with all their fields"
EMBEDDED, EXPORTED = "clickhouse/", "[export] directory/"

FILES: tuple[StoredFile, ...] = (
    StoredFile(
        "wal/*",
        "The write-ahead log ([ingest] wal_dir): events with all their fields, until ClickHouse has them; its lock.",
        _P,
        "about a second; for as long as ClickHouse is away",
    ),
    StoredFile(
        "wal/quarantine/*",
        f"{_EVENTS} in pieces of the log that were damaged.",
        _P,
        KeptFor.EVENTS,
    ),
    StoredFile(
        "dead-letters/*",
        f"{_EVENTS} that ClickHouse would not take, with the reason, which may quote them. An operator may retry them.",
        _P,
        KeptFor.EVENTS,
    ),
    StoredFile(
        f"{EMBEDDED}*",
        "The tables above, where ClickHouse runs in the server ([clickhouse] url empty).",
        _P,
        "as the tables; what was deleted there some minutes longer",
    ),
    StoredFile(
        "audit/server.json",
        "The end of the server's chain in the audit log: its random id, and number and hash of the newest entry.",
        _T,
        ALWAYS,
    ),
    StoredFile("audit/commands.json", "The same of the commands that are run with the data directory.", _T, ALWAYS),
    StoredFile("audit/commands.lock", "Nothing: it keeps two commands apart.", _T, ALWAYS),
    StoredFile("audit/seal_key.json", "The key by which cuts of the audit log are proven.", _T, ALWAYS),
    StoredFile(
        "server.json",
        "Addresses on which the server listens, and a random name of its process.",
        _T,
        "while the server runs",
    ),
    StoredFile(
        "clickhouse-parts.json",
        "Names and numbers of rows of ClickHouse's files, by which a loss is found.",
        _T,
        ALWAYS,
    ),
    StoredFile(
        f"{EXPORTED}site=*",
        "Files of days: the site's events with what its profile allows; and a manifest of the days.",
        _P,
        "until they are deleted by hand",
        of_server=False,
    ),
    StoredFile(f"{EXPORTED}_archive.json", "The random id of the directory.", _T, "until it is deleted by hand"),
)
