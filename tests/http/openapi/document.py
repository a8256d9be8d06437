"""The document as tests see it: operations, and whether an answer is one that it declares."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from jsonschema import Draft202012Validator

from tests.server import Reply

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """One operation as the document has it."""

    method: str
    path: str
    spec: Json

    @property
    def name(self) -> str:
        return str(self.spec["operationId"])

    @property
    def role(self) -> str:
        """`""`, `read`, `admin` or `collect`."""
        return str(self.spec.get("x-role", ""))

    @property
    def bodies(self) -> list[Any]:
        """The examples of its body; one None if it has none."""
        if "requestBody" not in self.spec:
            return [None]
        (content,) = self.spec["requestBody"]["content"].values()
        return [example["value"] for example in content["examples"].values()]

    @property
    def successes(self) -> set[int]:
        return {int(status) for status in self.spec["responses"] if int(status) < 400}

    def address(self, values: Mapping[str, str], *, optional: bool = True) -> str:
        """The path with its parameters filled in from `values` or from the examples."""
        path, query = self.path, {}
        for parameter in self.spec.get("parameters", []):
            name, known = parameter["name"], parameter.get("example")
            value = values.get(name, known)
            if parameter["in"] == "path":
                path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
            elif value is not None and (optional or parameter["required"]):
                query[name] = value
        return path + ("?" + urlencode(query) if query else "")


class Document:
    """A parsed document. Raises `AssertionError` where an answer is not what it says."""

    def __init__(self, spec: Json) -> None:
        self.spec = spec
        closed = copy.deepcopy(spec["components"])
        for schema in closed["schemas"].values():
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
        self._open, self._closed = spec["components"], closed

    @functools.cached_property
    def operations(self) -> list[Described]:
        return [
            Described(method.upper(), path, operation)
            for path, methods in self.spec["paths"].items()
            for method, operation in methods.items()
        ]

    def problems(self, schema: Json, value: object, *, closed: bool = False) -> list[str]:
        """What is wrong with a value. `closed`: keys that the schema does not name are wrong too."""
        components = self._closed if closed else self._open
        validator = Draft202012Validator({**schema, "components": components})
        return [f"{error.json_path}: {error.message}"[:300] for error in validator.iter_errors(value)]

    def check(self, operation: Described, reply: Reply) -> None:
        """Is the answer one that the operation declares: status, content type, shape, code?"""
        where = f"{operation.name}: {reply.status} {reply.body[:300]!r}"
        declared = operation.spec["responses"].get(str(reply.status))
        assert declared is not None, f"{where}\nis none of {list(operation.spec['responses'])}"
        content = declared.get("content")
        if not content:
            assert reply.body == b"", where
            return
        kind = reply.headers["Content-Type"].partition(";")[0]
        assert kind in content, f"{where}\nis {kind}, none of {list(content)}"
        if "schema" in content[kind]:
            found = self.problems(content[kind]["schema"], msgspec.json.decode(reply.body), closed=True)
            assert found == [], f"{where}\n{found}"
        if reply.status >= 400 and kind == "application/json" and "x-error-codes" in declared:
            assert reply.code in declared["x-error-codes"], where


def references(value: object) -> Iterator[str]:
    """Every `$ref` below."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
