"""docs/api.md lists every operation, and the pages every error code, that the API's description names."""

from __future__ import annotations

import pytest

from analytics_server.access.actions import ACTIONS
from analytics_server.http.openapi.document import TAGS
from tests.docs.pages import all_documentation, is_current
from tests.whole import complete_server

OPERATIONS = complete_server().endpoints()
ROLES = {"": "", "collect": "collect, optional"}
FOR_PEOPLE = {"pages"}
PAGES = {"people": "access.md"}


@pytest.mark.parametrize("tag", [tag for tag in TAGS if tag not in FOR_PEOPLE])
def test_page_lists_the_operations(tag: str) -> None:
    shown = [operation for operation in OPERATIONS if operation.tag == tag and operation.method != "OPTIONS"]
    rows = [f"| `{' '.join(one.route)}` | {ROLES.get(one.role, one.role)} | {one.summary}. |" for one in shown]
    text = "\n".join(["| address | role | what |", "|---|---|---|", *rows]).replace("?. |", "? |")
    assert is_current(PAGES.get(tag, "api.md"), tag, text), "run `make golden`"


def test_the_access_page_lists_the_actions() -> None:
    rows = [f"| `{one.name}` | {ROLES.get(one.role, one.role).partition(',')[0]} | {one.about} |" for one in ACTIONS]
    text = "\n".join(["| action | least role | what |", "|---|---|---|", *rows])
    assert is_current("access.md", "scopes", text), "run `make golden`"


def test_every_error_code_is_documented() -> None:
    text = all_documentation()
    codes = {code for operation in OPERATIONS for found in operation.all_errors().values() for code in found}
    missing = sorted(code for code in codes if f"`{code}`" not in text)
    assert not missing, f"no page documents the errors {missing}"
