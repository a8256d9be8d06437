"""The documentation of the client: its snippets compile, and it leaves out no option and no call."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from tests.docs.pages import ROOT
from tests.web.workspace import WEB, run

SNIPPET = re.compile(r"^```(tsx?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SOURCES = WEB / "client" / "src"
HERE = Path(__file__).parent
TYPES = WEB / "node_modules" / "@types"
NEXT = ROOT / "examples" / "nextjs" / "node_modules" / "next"
PAGES = {
    "client-sdk.md": 4,
    "nestjs-integration.md": 3,
    "nextjs-integration.md": 8,
    "react-integration.md": 3,
    "server-side.md": 2,
}
"""Each page, and how many snippets it has at least."""
LISTED = {
    "client-sdk.md": [
        ("types.ts", "export interface AnalyticsConfig {"),
        ("index.ts", "export class AnalyticsClient"),
        ("testing/index.ts", "export class Recorder"),
        ("testing/index.ts", "export interface AnalyticsMatchers"),
    ],
    "nestjs-integration.md": [
        ("nestjs/request.ts", "export interface RequestOptions {"),
        ("nestjs/service.ts", "export class AnalyticsService"),
        ("nestjs/decorators.ts", "export interface Outcome {"),
    ],
    "nextjs-integration.md": [
        ("next/server/proxy.ts", "export interface AnalyticsProxyOptions"),
        ("next/server/config.ts", "export interface AnalyticsRewriteOptions {"),
    ],
    "server-side.md": [
        ("node/types.ts", "export interface ServerConfig {"),
        ("node/types.ts", "export interface EventContext {"),
        ("node/types.ts", "export interface DeliveryStats {"),
        ("node/index.ts", "export class ContextAnalytics"),
        ("node/index.ts", "export class ServerAnalytics"),
    ],
}
"""The declarations whose members each page lists."""
MEMBER = re.compile(r"^  (?:readonly |async |get )?(\w+)\??[:(<]", re.MULTILINE)


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_every_snippet_compiles_and_so_do_the_tests_applications(modules: Path, tmp_path: Path) -> None:
    if not (NEXT / "package.json").is_file():
        pytest.skip("the packages of examples/nextjs are not installed: `make test` does it where npm is there")
    for page, least in PAGES.items():
        snippets = SNIPPET.findall(text_of(page))
        assert len(snippets) >= least, page
        for index, (language, snippet) in enumerate(snippets):
            (tmp_path / f"{page}-{index}.{language}").write_text(snippet, encoding="utf-8")
    options = {
        "extends": str(WEB / "client" / "tsconfig.json"),
        "compilerOptions": {
            "jsx": "react-jsx",
            "skipLibCheck": True,
            "experimentalDecorators": True,
            "strictPropertyInitialization": False,
            "paths": {
                "@nestjs/*": [str(WEB / "node_modules" / "@nestjs" / "*")],
                "next": [str(NEXT / "index.d.ts")],
                "next/*": [str(NEXT / "*")],
                "reflect-metadata": [str(WEB / "node_modules" / "reflect-metadata")],
                "react": [str(TYPES / "react" / "index.d.ts")],
                "react/*": [str(TYPES / "react" / "*.d.ts")],
                "react-dom/*": [str(TYPES / "react-dom" / "*.d.ts")],
                "@analytics/client": [str(modules / "index.d.ts")],
                "@analytics/client/*": [str(modules / "*" / "index.d.ts")],
            },
        },
        "include": [
            *(f"{tmp_path}/*", str(HERE / "react" / "*.tsx"), str(HERE / "nest" / "*.ts")),
            str(ROOT / "examples" / "react-spa" / "src"),
        ],
    }
    (tmp_path / "node_modules").symlink_to(WEB / "node_modules")
    (tmp_path / "tsconfig.json").write_bytes(msgspec.json.encode(options))
    run("node_modules/typescript/bin/tsc", "-p", str(tmp_path))


def test_snippets_in_python_compile() -> None:
    snippets = PYTHON.findall(text_of("server-side.md"))
    assert snippets
    for snippet in snippets:
        compile(snippet, "server-side.md", "exec")


def test_every_part_of_react_is_listed() -> None:
    source = (SOURCES / "react" / "index.ts").read_text(encoding="utf-8")
    parts = re.findall(r"^export const (\w+)", source, re.MULTILINE)
    assert len(parts) == 7
    assert [part for part in parts if part not in text_of("react-integration.md")] == []


def test_every_part_of_nextjs_is_listed() -> None:
    text = text_of("nextjs-integration.md")
    sources = [(SOURCES / "next" / name).read_text(encoding="utf-8") for name in ("index.ts", "server/index.ts")]
    parts = re.findall(r"\b(create\w+|with\w+|use[A-Z]\w+|[A-Z]\w+(?=,\n))", "".join(sources))
    assert {"createAnalyticsProxy", "withAnalytics", "createNextAnalytics", "useTrack", "OptOut"} <= {*parts}
    own = re.findall(
        r"^  readonly (\w+)", (SOURCES / "next/server/request.ts").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {"proxies", "origin"} <= {*own}
    elsewhere = (
        "createElement",
        "useState",
        "useEffect",
        "useLayoutEffect",
        "useRouter",
        "useParams",
        "usePathname",
        "headers",
        "url",
    )
    missing = [part for part in {*parts, *own, "after", "forRequest", "onRequestError"} if part not in text]
    assert [part for part in missing if part not in elsewhere and not part.endswith("Props")] == []


@pytest.mark.parametrize("page", LISTED)
def test_every_option_and_call_is_listed(page: str) -> None:
    text = text_of(page)
    for file, declaration in LISTED[page]:
        body = (SOURCES / file).read_text(encoding="utf-8").split(declaration)[1].split("\n}")[0]
        members = [name for name in MEMBER.findall(body) if name not in ("constructor", "private")]
        assert len(members) >= 3, declaration
        assert [name for name in members if not re.search(rf"[`.]{name}[`(]", text)] == [], declaration
