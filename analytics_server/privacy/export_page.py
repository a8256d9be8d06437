"""The page of an export for people: what is stored of them, table by table, in one HTML file without anything outside.

Shows the first rows of each table and says how many there are; all of them are in the NDJSON beside it.
"""

from __future__ import annotations

from html import escape

import msgspec

MOST_ROWS = 500
"""Of each table on the page: more can't be read by a person, and memory is bounded by it."""

ABOUT = {
    "events": "What happened, one row for each page view, click or other event.",
    "sessions": "Sessions (your visits): their events added up.",
    "activity": "On which days which events happened.",
    "funnel_days": "How far steps of a saved funnel were taken, by day.",
    "dead_letters": "Events that could not be stored, and why.",
    "opt_outs": "You have opted out: no new events of yours are stored.",
}
_EMPTY = ("", 0, "0", "0.0000", "00000000-0000-0000-0000-000000000000")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#1a1a1a;background:#fff}"
    "table{border-collapse:collapse;margin:0 0 2rem}th,td{border:1px solid #bbb;padding:.2rem .5rem;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}th{background:#eee}.scroll{overflow-x:auto}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}th{background:#2b2b2b}th,td{border-color:#555}}"
)


class ExportPage:
    """Collects rows from the pieces of an NDJSON, which may end anywhere."""

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._rest = b""
        self._rows: dict[str, list[dict[str, object]]] = {}
        self._counts: dict[str, int] = {}

    def add(self, piece: bytes) -> None:
        """The next piece."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            row = msgspec.json.decode(line, type=_Named)
            self._counts[row.table] = self._counts.get(row.table, 0) + 1
            if self._counts[row.table] <= MOST_ROWS:
                self._rows.setdefault(row.table, []).append(msgspec.json.decode(line, type=dict[str, object]))

    def html(self) -> str:
        """The page."""
        sections = "".join(self._section(name, rows) for name, rows in self._rows.items())
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><title>Stored data</title>'
            f"<style>{_STYLE}</style></head><body><h1>What is stored of {escape(self._user_id)}</h1>"
            + (sections or "<p>Nothing is stored.</p>")
            + "</body></html>\n"
        )

    def _section(self, name: str, rows: list[dict[str, object]]) -> str:
        columns = [
            key for key in dict.fromkeys(key for row in rows for key in row if key != "table") if _is_used(rows, key)
        ]
        head = "".join(f'<th scope="col">{escape(key)}</th>' for key in columns)
        body = "".join(f"<tr>{''.join(f'<td>{_shown(row.get(key))}</td>' for key in columns)}</tr>" for row in rows)
        count = self._counts[name]
        more = f" The first {MOST_ROWS:,} are shown; all are in the file data.ndjson." if count > MOST_ROWS else ""
        about = ABOUT.get(name, "Steps of a saved funnel." if name.startswith("funnel_") else "")
        return (
            f"<h2>{escape(name)}</h2><p>{about} Rows: {count:,}.{more}</p>"
            f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )


class _Named(msgspec.Struct):
    table: str


def _is_used(rows: list[dict[str, object]], key: str) -> bool:
    return any(row.get(key) not in (None, *_EMPTY, [], {}) for row in rows)


def _shown(value: object) -> str:
    if value is None or value in _EMPTY:
        return ""
    return escape(value if isinstance(value, str) else msgspec.json.encode(value).decode())
