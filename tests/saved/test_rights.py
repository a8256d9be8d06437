"""Who may read and who may change saved things."""

from __future__ import annotations

import pytest

from tests.saved.api import KINDS, SITE, Api, wanted

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("token", "reads", "writes"),
    [
        ("", 401, 401),
        ("read", 200, 403),
        ("collect", 403, 403),
        ("site", 200, 200),
        ("elsewhere", 403, 403),
    ],
)
async def test_what_each_token_may(api: Api, kind: str, token: str, reads: int, writes: int) -> None:
    made = await api.make(kind)
    one = f"{kind}/{made['id']}"
    hidden = 404 if token == "elsewhere" else None

    found = {
        "list": (await api("GET", f"{kind}?site_id={SITE}", token=token))[0],
        "one": (await api("GET", one, token=token))[0],
        "create": (await api("POST", kind, wanted(kind, {"name": "Another"}), token=token))[0],
        "change": (await api("PUT", one, {"name": "New"}, token=token))[0],
        "delete": (await api("DELETE", one, token=token))[0],
    }

    assert found == {
        "list": reads,
        "one": hidden or reads,
        "create": 201 if writes == 200 else writes,
        "change": hidden or writes,
        "delete": hidden or (204 if writes == 200 else writes),
    }
