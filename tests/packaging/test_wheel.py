"""The wheel, built from the checkout and installed into an empty environment, works on its own.

The environment is a new one with nothing but the wheel; the libraries are lent by path,
which does not lend the checkout (an editable install is a .pth file, and those count
only in site directories). That the locks alone suffice, .ci/run shows with `make install`.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
DATA_SUFFIXES = {".css", ".html", ".js", ".json", ".py", ".svg", ".txt", ".woff2"}
TIMEOUT_S = 60


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target, cwd=ROOT)
    [built] = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", target, cwd=target)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", target / "bin" / "python")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=target)
    [site_packages] = target.glob("lib/python*/site-packages")
    (site_packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return target


def test_holds_every_module_and_data_file(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "analytics_server").rglob("*")
        if path.suffix in DATA_SUFFIXES and "__pycache__" not in path.parts
    }
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert expected | {"analytics_server/py.typed"} <= packed, sorted(expected - packed)


def test_holds_the_schema_and_nothing_beside_the_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    schema = {f"analytics_server/_schema/{path.name}" for path in (ROOT / "schema").glob("*.sql")}
    assert schema
    assert {name for name in names if "/_schema/" in name} == schema
    assert {name.split("/")[0].rpartition(".")[2] for name in names} == {"analytics_server", "dist-info"}


def test_installed_wheel_finds_its_schema(environment: Path) -> None:
    code = (
        "import analytics_server; from analytics_server.store.migrate import schema_migrations;"
        "print(analytics_server.__file__, len(schema_migrations()))"
    )
    place, count = run(environment / "bin" / "python", "-W", "error", "-c", code, cwd=environment).split()
    assert place.startswith(str(environment))
    assert int(count) == len(list((ROOT / "schema").glob("*.sql")))


def test_installed_command_accepts_the_example_config(environment: Path) -> None:
    command = environment / "bin" / "analytics-server"
    assert "serve" in run(command, "--help", cwd=environment)
    run(command, "check-config", "--config", ROOT / "config.example.toml", cwd=environment)


def test_locks_hold_every_declared_dependency(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(archive.read(name).decode())
    declared = {canonicalize_name(Requirement(text).name) for text in metadata.get_all("Requires-Dist", [])}
    assert declared <= locked("runtime.txt")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    for group, requirements in groups.items():
        assert {canonicalize_name(Requirement(text).name) for text in requirements} <= locked(f"{group}.txt")


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt", "build.txt", "geo.txt"])
def test_locks_pin_and_hash_every_package(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            assert "==" in line, line
            assert "--hash=sha256:" in line, line


def locked(name: str) -> set[str]:
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(line.split("==")[0]) for line in lines if line and line[0].isalnum()}
