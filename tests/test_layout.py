"""The layout that readers rely on: short files, small folders, and every public class name once."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

import analytics_server

PACKAGE = Path(analytics_server.__file__).parent
MOST_LINES = 400
MOST_APP_LINES = 200
MOST_FILES = 15
LARGEST_PACKAGE_SHARE = 0.2


def modules() -> Iterator[Path]:
    return (path for path in PACKAGE.rglob("*.py"))


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    long = {str(path.relative_to(PACKAGE)): lines for path in modules() if (lines := lines_of(path)) > MOST_LINES}
    assert not long


def test_app_only_starts_and_stops() -> None:
    assert lines_of(PACKAGE / "app.py") < MOST_APP_LINES


def test_no_folder_has_many_modules() -> None:
    counted: dict[Path, int] = defaultdict(int)
    for path in modules():
        counted[path.parent] += path.name != "__init__.py"
    assert not {str(folder): files for folder, files in counted.items() if files > MOST_FILES}


def test_no_package_holds_more_than_a_fifth_of_the_code() -> None:
    counted: dict[str, int] = defaultdict(int)
    for path in modules():
        counted[path.relative_to(PACKAGE).parts[0]] += lines_of(path)
    total = sum(counted.values())
    assert not {name: lines for name, lines in counted.items() if lines > total * LARGEST_PACKAGE_SHARE}


def test_no_modules_or_folders_of_a_folder_import_each_other_in_a_circle() -> None:
    """At every level: a folder counts as importing what any of its modules imports."""
    graph = grimp.build_graph("analytics_server", cache_dir=None)
    imported: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for importer in graph.modules:
        ways = importer.split(".")
        for target in graph.find_modules_directly_imported_by(importer):
            others = target.split(".")
            shared = next((at for at, (a, b) in enumerate(zip(ways, others, strict=False)) if a != b), 0)
            if shared:
                imported[".".join(ways[:shared])][ways[shared]].add(others[shared])
    assert len(imported) > 10
    for folder, below in imported.items():
        assert list(TopologicalSorter(below).static_order()), folder


def test_every_public_class_name_stands_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(PACKAGE)))
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_every_public_class_and_function_has_a_docstring() -> None:
    missing = []
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # Nested ones too, in whatever they are defined.
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        missing += [f"{path.relative_to(PACKAGE)}: {node.name}" for node in classes if not ast.get_docstring(node)]
        owners: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
        owners += [(f"{node.name}.", node.body) for node in classes]
        for owner, body in owners:
            missing += [
                f"{path.relative_to(PACKAGE)}: {owner}{node.name}"
                for node in body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
            ]
    assert not missing


def test_every_file_that_a_page_or_a_docstring_names_is_there() -> None:
    root = PACKAGE.parent
    files = [path.relative_to(root).as_posix() for path in (*modules(), *(root / "tests").rglob("*.py"))]
    texts = [*modules(), *(root / "docs").glob("*.md"), root / "CONTRIBUTING.md"]
    named = {name for path in texts for name in re.findall(r"`([\w/]+/\w+\.py)", path.read_text(encoding="utf-8"))}
    assert "store/documents.py" in named
    assert not {name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)}
