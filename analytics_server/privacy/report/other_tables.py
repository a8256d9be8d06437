"""Tables that hold no event and nothing that is derived from one: drops, keys, rights, people who sign in, work.

Owns a sentence and a class for each of their columns.
"""

from __future__ import annotations

from analytics_server.privacy.report.stored import ALWAYS, DAYS_30, HOURS_48, DataClass, KeptFor, StoredTable

_P, _S, _C, _T = DataClass.PERSONAL, DataClass.PSEUDONYMOUS, DataClass.CONTENT, DataClass.TECHNICAL
_SITE = {"site_id": (_T, "The site.")}
_VERSION = {
    "deleted": (_T, "Is it deleted?"),
    "updated_at": (_T, "When this version was written: the newest one counts."),
}
_UNTIL_DELETED = "until it is deleted; its text goes with it"

OTHER_TABLES: tuple[StoredTable, ...] = (
    StoredTable(
        "drops",
        "Counts of events that were not kept, by reason: identifies no person.",
        DAYS_30,
        {
            **_SITE,
            "bucket": (_T, "The quarter of an hour, UTC."),
            "reason": (_T, "Why they were not kept."),
            "kind": (_T, "Of robots, which kind."),
            "example": (_C, "A host, a path, a rule, or a robot's name; never an address or a query."),
            "events": (_T, "How many."),
            "last_at": (_T, "Time of the latest."),
        },
    ),
    StoredTable(
        "salts",
        "The random keys of visitors' hashes. Servers hold them in memory besides, and in no file of their own.",
        HOURS_48,
        {
            "day": (_T, "The UTC day."),
            "salt": (_T, "32 random bytes; without them no hash can be made again."),
            "created_at": (_T, "When it was made."),
        },
        of_server=True,
    ),
    # ---- rights of persons
    StoredTable(
        "opt_outs",
        "Users that must not be stored again, by a keyed hash and never by their id.",
        "always, so that they stay out; of one that was taken off the list the hash stays too",
        {
            "site_id": (_T, "The site; empty: all sites."),
            "user_hash": (_S, "Keyed hash of the user_id."),
            "document": (_S, "The same hash, the site, and since when."),
            **_VERSION,
        },
    ),
    StoredTable(
        "privacy_keys",
        "The key of the hashes in opt_outs, erasures and the audit log.",
        ALWAYS,
        {"key": (_T, "Random bytes; with them a guessed id can be compared."), "created_at": (_T, "When it was made.")},
        of_server=True,
    ),
    StoredTable(
        "erasures",
        "Each erasure of a person with its phase, and at the end its certificate.",
        "always, as the proof of what was erased",
        {
            "id": (_T, "Random id of the erasure."),
            "document": (
                _S,
                "Keyed hash of the user_id, sites, times, how many rows of which table, and the certificate.",
            ),
            **_VERSION,
        },
        of_server=True,
    ),
    StoredTable(
        "erasure_subjects",
        "Whose data an erasure under way removes.",
        "while the erasure runs",
        {"id": (_T, "Id of the erasure."), "user_id": (_P, "Your application's own id of the person.")},
        of_server=True,
    ),
    StoredTable(
        "erasure_keys",
        "What an erasure or an expiry under way touches, so that it can go on after a crash.",
        "while it runs",
        {
            "id": (_T, "Id of the erasure, or the word for an expiry."),
            "part": (_T, "Which table, or which step."),
            **_SITE,
            "day": (_T, "The day concerned."),
            "key": (_S, "Hash of a batch, or of a key of a rollup that counts what is removed."),
        },
    ),
    # ---- who asks and changes
    StoredTable(
        "audit",
        "The audit log: who asked, changed, exported or was refused what. Of visitors it holds keyed hashes at most.",
        KeptFor.AUDIT,
        {
            "server": (_T, "Random id of the chain: of a server, or of a machine's commands."),
            "sequence": (_T, "Number of the entry in its chain."),
            "at": (_T, "When."),
            "action": (_T, "Which right was needed."),
            "site_id": (_T, "The site concerned, if it is one."),
            "entry": (_P, "The entry: name and id of the person or token that acted, on what, and with what outcome."),
            "hash": (_T, "SHA-256 of the entry."),
        },
        of_server=True,
    ),
    StoredTable(
        "people",
        "People who sign in, invitations, their second factors, and share links.",
        _UNTIL_DELETED,
        {
            "kind": (_T, "Person, invitation, second factor or share link."),
            "id": (_T, "Random id."),
            "document": (
                _P,
                "Mail address, name, rights, and hash of the password; of a link its name and what it shows.",
            ),
            **_VERSION,
        },
        of_server=True,
    ),
    StoredTable(
        "person_sessions",
        "Sign-ins of people that have not ended.",
        "until a day after their end ([access] session_absolute_s)",
        {
            "session_hash": (_T, "Hash by which the cookie is looked up; the cookie itself is not stored."),
            "document": (
                _S,
                "Id of the person, when the sign-in was and when it ends, and a keyed hash of the cookie.",
            ),
            **_VERSION,
        },
        of_server=True,
    ),
    StoredTable(
        "tokens",
        "Tokens of programs.",
        "always; one that was revoked is marked so",
        {
            "token_hash": (_T, "Hash by which the token is looked up; the token itself is not stored."),
            "document": (_C, "The token's name, rights, sites and end, and a keyed hash of it."),
            **_VERSION,
        },
        of_server=True,
    ),
    StoredTable(
        "credential_uses",
        "When a token or a sign-in was last used: of tokens the day, of sign-ins the minutes.",
        "400 days after the last use",
        {"id": (_S, "Id of the token or of the sign-in."), "used_at": (_T, "When.")},
        of_server=True,
    ),
    # ---- settings and what is saved
    StoredTable(
        "sites",
        "The sites with their settings.",
        "always; of a deleted site the name and its last settings stay, so that its events are refused",
        {**_SITE, "document": (_C, "The settings, as the member site of this report shows them."), **_VERSION},
        of_server=True,
    ),
    StoredTable(
        "saved",
        "Goals, funnels, segments, experiments, annotations and queries that people save.",
        _UNTIL_DELETED,
        {
            "kind": (_T, "What it is."),
            **_SITE,
            "id": (_T, "Random id."),
            "document": (_C, "What was saved. A filter in it may name a user_id."),
            **_VERSION,
        },
    ),
    StoredTable(
        "definitions",
        "From when on the site's events are counted by which version of the definitions.",
        ALWAYS,
        {**_SITE, "version": (_T, "The version."), "since": (_T, "Since when.")},
    ),
    # ---- work of the servers
    StoredTable(
        "funnel_fills",
        "How far the tables of each saved funnel are filled.",
        "as long as the funnel is saved as it is",
        {
            **_SITE,
            "funnel_id": (_T, "Id of the saved funnel."),
            "definition": (_T, "Hash of what the saved funnel counts."),
            "from_day": (_T, "From which day on it is filled."),
            "first_day": (_T, "The first day with events."),
            "filled": (_T, "Is it filled?"),
            "server": (_T, "Which server is at it."),
            "updated_at": (_T, "When this version was written: the newest one counts."),
        },
    ),
    StoredTable(
        "leases",
        "Which server does some work in the background.",
        DAYS_30,
        {
            "name": (_T, "Which work."),
            "claim": (_T, "Random id of an attempt to take it."),
            "step": (_T, "Number of the row in the attempt."),
            "holder": (_T, "Who made it: a server's data directory."),
            "ends_at": (_T, "When it ends."),
            "at": (_T, "When the row was written."),
        },
        of_server=True,
    ),
    StoredTable(
        "backfills",
        "Work that an update left to be done beside the traffic.",
        ALWAYS,
        {"name": (_T, "Which work."), "is_done": (_T, "Is it done?"), "at": (_T, "When that was written.")},
        of_server=True,
    ),
    StoredTable(
        "archive_roots",
        "Directories in which any server has written files of days, and the sites that have some there.",
        "always; one that archive forget names is marked so",
        {
            "root": (_T, "Random id of the directory."),
            "site_id": (_T, "The site; empty: the directory itself."),
            "document": (_T, "The paths that the directory has had."),
            **_VERSION,
        },
        of_server=True,
    ),
    StoredTable(
        "schema_migrations",
        "Which changes of the tables were made.",
        ALWAYS,
        {
            "number": (_T, "Number of the change."),
            "name": (_T, "Its name."),
            "checksum": (_T, "Hash of its text."),
            "applied_at": (_T, "When it was made."),
        },
        of_server=True,
    ),
)
