"""Nothing of a deleted saved thing or person is stored any more, in any version; and they stay deleted."""

from __future__ import annotations

import msgspec
import pytest

from analytics_server.access.people.accounts import PEOPLE
from analytics_server.saved.store import SAVED
from analytics_server.store import Store
from analytics_server.store.documents import Documents, DocumentTable, Key


@pytest.mark.parametrize("table", [SAVED, PEOPLE], ids=["saved", "people"])
async def test_a_deleted_document_leaves_no_text(store: Store, table: DocumentTable) -> None:
    def opened() -> Documents[str]:
        return Documents(
            store,
            table,
            decode=lambda _, text: str(msgspec.json.decode(text)),
            encode=lambda text: msgspec.json.encode(text).decode(),
            label=lambda key: (key[0], key[-1]),
        )

    def key(name: str) -> Key:
        return ("goal", *(["a.example"] if len(table.key_columns) > 2 else []), name)

    documents, gone, left = opened(), key("gone"), key("left")
    for text in ("marked-first", "marked-second"):
        await documents.put_all({gone: text, left: "stays"})
    await documents.delete(gone)
    await documents.put(left, "stays for longer")

    answer = await store.query(f"SELECT count() FROM {table.name} WHERE position(document, 'marked') > 0")
    assert answer.rows == [(0,)]
    read = opened()
    await read.load()
    assert (read.get(gone), read.get(left)) == (None, "stays for longer")
