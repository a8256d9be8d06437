"""Settings: file, environment and defaults; every mistake is named with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from analytics_server.app import Server
from analytics_server.config import OWN_PATHS, ClickhouseSection, Config, ServerSection, load_config, section_keys
from analytics_server.errors import ConfigError
from tests.whole import complete_server

ALL_KEYS = [(section, key, kind) for section, keys in section_keys().items() for key, kind in keys.items()]


def written(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def default_of(section: str, key: str) -> Any:
    return getattr(getattr(Config(), section), key)


def another(section: str, key: str) -> tuple[Any, str]:
    """A valid value that is not the default, and its text in the environment."""
    value = default_of(section, key)
    kind = str(section_keys()[section][key])
    if "Literal" in kind:
        choice = next(choice for choice in get_args(section_keys()[section][key]) if choice != value)
        return choice, choice
    if isinstance(value, bool):
        return not value, str(not value).lower()
    if isinstance(value, (int, float)):
        return value + 1, str(value + 1)
    if isinstance(value, tuple):
        return ("10.0.0.1", "b"), " 10.0.0.1 ,b,"
    if key == "default_timezone":
        return "Europe/Stockholm", "Europe/Stockholm"
    if key == "client_ip_header":
        return "X-Real-IP", "X-Real-IP"
    if key == "issuer":
        return "https://id.example", "https://id.example"
    if (section, key) == ("mail", "host"):
        return "other.example", "other.example"
    if key == "public_url":
        return "https://stats.example", "https://stats.example"
    return f"/{key}", f"/{key}"


PROVIDER = {
    "ANALYTICS_OIDC_ISSUER": "https://other.example",
    "ANALYTICS_OIDC_CLIENT_ID": "analytics",
    "ANALYTICS_SERVER_PUBLIC_URL": "https://stats.example",
}


MAIL = {
    "ANALYTICS_MAIL_HOST": "smtp.example.com",
    "ANALYTICS_MAIL_SENDER": "stats@example.com",
    "ANALYTICS_SERVER_PUBLIC_URL": "https://stats.example",
}


def companions(section: str, key: str) -> dict[str, str]:
    """What has to be set besides."""
    variable = f"ANALYTICS_{section}_{key}".upper()
    needing = {("oidc", "issuer"): PROVIDER, ("oidc", "only"): PROVIDER, ("mail", "host"): MAIL}
    wanted = needing.get((section, key), {})
    return {name: value for name, value in wanted.items() if name != variable}


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, key, _ in ALL_KEYS])
def test_every_key_can_be_set_in_both_ways_and_the_environment_wins(tmp_path: Path, section: str, key: str) -> None:
    value, text = another(section, key)
    toml_value = list(value) if isinstance(value, tuple) else value
    path = written(tmp_path, f"[{section}]\n{key} = {msgspec.json.encode(toml_value).decode()}\n")
    variable = f"ANALYTICS_{section}_{key}".upper()

    besides = companions(section, key)
    from_file = load_config(path, besides)
    from_environment = load_config(None, {**besides, variable: text})
    default = default_of(section, key)
    back = ",".join(default) if isinstance(default, tuple) else str(default)
    both = load_config(path, {**besides, variable: back})

    assert getattr(getattr(from_file, section), key) == value
    assert getattr(getattr(from_environment, section), key) == value
    assert getattr(getattr(both, section), key) == default


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"OIDC_ISSUER": "id.example"}, "no address of a provider"),
        ({"OIDC_ISSUER": "http://id.example"}, "no address of a provider"),
        ({"OIDC_ISSUER": "https://id.example/?a=b"}, "no address of a provider"),
        ({"OIDC_CLIENT_ID": ""}, "client_id"),
        ({"SERVER_PUBLIC_URL": ""}, "public_url"),
        ({"OIDC_ROLES": "staff"}, "GROUP=owner"),
        ({"OIDC_ROLES": "staff=viewer"}, "GROUP=owner"),
        ({"OIDC_ROLES": "staff=owner@a.example"}, "GROUP=owner"),
        ({"OIDC_ROLES": "=owner"}, "GROUP=owner"),
        ({"OIDC_ISSUER": "", "OIDC_ONLY": "true"}, "sign-in would be impossible"),
    ],
)
def test_a_provider_needs_settings_that_can_work(changes: dict[str, str], message: str) -> None:
    changed = {f"ANALYTICS_{name}": value for name, value in changes.items()}
    with pytest.raises(ConfigError, match=message):
        load_config(None, {**PROVIDER, **changed})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"HOST": "smtp.example.com:587"}, "no host"),
        ({"HOST": "smtp example"}, "no host"),
        ({"HOST": "https://smtp.example.com"}, "no host"),
        ({"SENDER": ""}, "no e-mail address"),
        ({"SENDER": "Stats <stats@example.com>"}, "no e-mail address"),
        ({"SENDER": "a@example.com,b@example.com"}, "no e-mail address"),
        ({"USER": "stats"}, "user needs a password"),
        ({"PASSWORD": "secret"}, "either of them needs a user"),
        ({"USER": "stats", "PASSWORD": "secret", "PASSWORD_FILE": "/x"}, "leave one out"),
        ({"USER": "stats", "PASSWORD": "secret", "TLS": "none"}, "in the clear"),
        ({"TLS": "none"}, "in the clear"),
        ({"TLS": "none", "HOST": "10.0.0.1"}, "in the clear"),
        ({"TLS": "none", "HOST": "localhost.example.com"}, "in the clear"),
        ({"USER": "stats", "PASSWORD_FILE": "/nowhere/at/all"}, "can't be read: No such file"),
        ({"USER": "stats", "PASSWORD_FILE": "/dev/null"}, "is empty"),
        ({"PORT": "0"}, ">= 1"),
        ({"PORT": "65536"}, "<= 65535"),
        ({"TLS": "ssl"}, "ssl"),
        ({"TIMEOUT_S": "0"}, "> 0"),
        ({"TIMEOUT_S": "600.1"}, "<= 600"),
        ({"RESET_S": "59"}, ">= 60"),
        ({"RESET_S": "86401"}, "<= 86400"),
        ({"MESSAGES_PER_RECIPIENT": "0"}, ">= 1"),
        ({"RESETS_PER_ADDRESS": "0"}, ">= 1"),
        ({"MOST_WAITING": "0"}, ">= 1"),
        ({"MOST_WAITING": "10001"}, "<= 10000"),
    ],
)
def test_a_mail_server_needs_settings_that_can_work(changes: dict[str, str], message: str) -> None:
    changed = {f"ANALYTICS_MAIL_{name}": value for name, value in changes.items()}
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(None, {**MAIL, **changed})
    assert "secret" not in caught.value.message


def test_mail_settings_at_their_limits_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    for changes in (
        {"PORT": "1", "TIMEOUT_S": "0.1", "RESET_S": "60", "MOST_WAITING": "1", "MESSAGES_PER_RECIPIENT": "1"},
        {"PORT": "65535", "TIMEOUT_S": "600", "RESET_S": "86400", "MOST_WAITING": "10000", "HOST": "::1"},
        {"USER": "stats", "PASSWORD_FILE": str(file)},
        {"USER": "stats", "PASSWORD": "secret", "TLS": "none", "HOST": "localhost"},
        *({"TLS": "none", "HOST": host} for host in ("LOCALHOST", "127.0.0.1", "127.8.9.1", "::1")),
        {"SENDER": "stats@bücher.example"},
    ):
        mail = load_config(None, {**MAIL, **{f"ANALYTICS_MAIL_{name}": value for name, value in changes.items()}}).mail
        assert mail.secret() == ("secret" if mail.user else "")
    with pytest.raises(ConfigError, match="public_url"):
        load_config(None, {**MAIL, "ANALYTICS_SERVER_PUBLIC_URL": ""})
    assert load_config(None, {"ANALYTICS_MAIL_USER": "stats"}).mail.host == "", "without a host nothing is judged"


@pytest.mark.parametrize(
    "issuer", ["https://id.example/realms/a", "http://127.0.0.1:8080/realms/a", "http://localhost"]
)
def test_a_provider_is_asked_by_https_or_on_this_machine(issuer: str) -> None:
    assert load_config(None, {**PROVIDER, "ANALYTICS_OIDC_ISSUER": issuer}).oidc.issuer == issuer


def test_a_header_s_name_has_a_length_that_headers_have() -> None:
    assert load_config(None, {"ANALYTICS_SERVER_CLIENT_IP_HEADER": "x" * 64}).server.client_ip_header == "x" * 64
    with pytest.raises(ConfigError, match="client_ip_header"):
        load_config(None, {"ANALYTICS_SERVER_CLIENT_IP_HEADER": "x" * 65})


def test_a_day_is_complete_after_a_year_at_most() -> None:
    for hours in (0, 8_760):
        assert load_config(None, {"ANALYTICS_EXPORT_AFTER_HOURS": str(hours)}).export.after_hours == hours
    for hours in (-1, 8_761):
        with pytest.raises(ConfigError, match="AFTER_HOURS"):
            load_config(None, {"ANALYTICS_EXPORT_AFTER_HOURS": str(hours)})


def test_names_in_the_environment_mean_one_key_each() -> None:
    names = [f"{section}_{key}" for section, key, _ in ALL_KEYS]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[servr]\nport = 1", ["[servr]", "'server'"]),
        ("[server]\nprot = 1", ["[server]", "'prot'", "'port'"]),
        ("[server]\nxyzzy = 1", ["[server]", "'xyzzy'", "Valid names", "data_dir"]),
        ("port = 1", ["port"]),
        ("server = 1", ["[server]", "section"]),
        ("[[server]]\nport = 1", ["[server]", "section"]),
        ('[server]\nport = "8000"', ["server.port", "int"]),
        ("[server]\nport = 65536", ["server.port", "65535"]),
        ("[server]\nshutdown_grace_s = 0", ["server.shutdown_grace_s", "> 0"]),
        ('[ingest]\nack = "maybe"', ["ingest.ack", "maybe"]),
        ('[collect]\ntrailing_slash = "cut"', ["collect.trailing_slash", "cut"]),
        ('[server]\nclient_ip_header = "X Real IP"', ["client_ip_header", "X Real IP", "CF-Connecting-IP"]),
        ('[server]\nclient_ip_header = "X-Real-IP:"', ["client_ip_header", "CF-Connecting-IP"]),
        ('[sites]\ndefault_timezone = "Mars/Base"', ["default_timezone", "Mars/Base", "Europe/Stockholm"]),
        ("[server\nport = 1", ["not valid TOML", "line 1"]),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(written(tmp_path, text), {})

    assert [part for part in parts if part not in refused.value.message] == []
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("variable", "text", "parts"),
    [
        ("ANALYTICS_SERVER_PROT", "1", ["ANALYTICS_SERVER_PROT", "'ANALYTICS_SERVER_PORT'"]),
        ("ANALYTICS_SERVER_PORT", "eighty", ["ANALYTICS_SERVER_PORT", "eighty"]),
        ("ANALYTICS_SERVER_PORT", "70000", ["ANALYTICS_SERVER_PORT", "65535"]),
        ("ANALYTICS_SERVER_DEMO", "maybe", ["ANALYTICS_SERVER_DEMO", "maybe"]),
        ("ANALYTICS_INGEST_RETRY_MAX_S", "nan", ["ANALYTICS_INGEST_RETRY_MAX_S", "nan"]),
    ],
)
def test_a_mistake_in_the_environment_is_named(variable: str, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(None, {variable: text})

    assert [part for part in parts if part not in refused.value.message] == []


@pytest.mark.parametrize("text", ["true", "1", "True", "TRUE"])
def test_what_counts_as_true(text: str) -> None:
    assert load_config(None, {"ANALYTICS_SERVER_DEMO": text}).server.demo is True


def test_other_variables_are_left_alone() -> None:
    others = {"PATH": "/bin", "ANALYTICSX": "1", "ANALYTICS_ADMIN_TOKEN": "x", "ANALYTICS_CONFIG": "x"}

    assert load_config(None, others) == Config()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml can't be read"):
        load_config(tmp_path / "missing.toml", {})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "binary.toml", {})


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("", "/data/a b%20c#d/clickhouse"),
        ("chdb:///elsewhere/a%20b%2520c%23d", "/elsewhere/a b%20c#d"),
        ("CHDB:///elsewhere", "/elsewhere"),
        ("https://name:secret@host:8443/db", None),
        ("http://[::1/db", None),
    ],
)
def test_the_engine_in_process_has_one_directory(url: str, directory: str | None) -> None:
    config = Config(server=ServerSection(data_dir="/data/a b%20c#d"), clickhouse=ClickhouseSection(url=url))

    assert config.engine_dir == (None if directory is None else Path(directory))


def test_data_lies_together_unless_told_otherwise(tmp_path: Path) -> None:
    config = load_config(None, {"ANALYTICS_SERVER_DATA_DIR": str(tmp_path)})
    elsewhere = load_config(
        None, {"ANALYTICS_INGEST_WAL_DIR": "/log", "ANALYTICS_CLICKHOUSE_URL": "http://host:8123/db"}
    )

    assert config.wal_dir == tmp_path / "wal"
    assert config.engine_dir == tmp_path / "clickhouse"
    assert (elsewhere.wal_dir, elsewhere.engine_dir) == (Path("/log"), None)


@pytest.mark.parametrize(
    ("script", "collector", "parts"),
    [
        ("/metrics", "/track", ["script_path", "/metrics"]),
        ("/a.js", "/healthz", ["collect_path", "/healthz"]),
        ("/a.js", "/api/v1/query", ["collect_path", "/api/v1"]),
        ("/dashboard/a.js", "/track", ["script_path", "/dashboard"]),
        ("/track", "/track", ["script_path", "collect_path"]),
        ("/track/view", "/track", ["script_path", "collect_path"]),
        ("/a.js", "/x/../track", ["collect_path", "'..'"]),
        ("/./a.js", "/track", ["script_path", "'.'"]),
    ],
)
def test_a_path_that_is_taken_is_refused(script: str, collector: str, parts: list[str]) -> None:
    environment = {"ANALYTICS_TRACKER_SCRIPT_PATH": script, "ANALYTICS_TRACKER_COLLECT_PATH": collector}

    with pytest.raises(ConfigError) as refused:
        load_config(None, environment)

    assert [part for part in parts if part not in refused.value.message] == []


@pytest.mark.parametrize(
    ("script", "collector"),
    [("/api/a.js", "/api/event"), ("/metrics.js", "/demo-track"), ("/x.js", "/x"), ("/tracker.js", "/track")],
)
def test_a_path_beside_the_server_s_own_is_taken(script: str, collector: str) -> None:
    environment = {"ANALYTICS_TRACKER_SCRIPT_PATH": script, "ANALYTICS_TRACKER_COLLECT_PATH": collector}

    tracker = load_config(None, environment).tracker

    assert (tracker.script_path, tracker.collect_path) == (script, collector)


def test_every_path_of_the_server_is_reserved() -> None:
    endpoints = complete_server().endpoints()

    others = {one.path for one in endpoints if one.tag != "collect"} - {"/", "/ping"}

    reserved = (*OWN_PATHS, Config().clickhouse_api.path)
    assert [path for path in others if not any(f"{path}/".startswith(f"{own}/") for own in reserved)] == []
    assert len(others) > 30


@pytest.mark.parametrize(
    ("section", "key"), [("tracker", "script_path"), ("tracker", "collect_path"), ("clickhouse_api", "path")]
)
def test_the_sign_of_life_at_the_root_gives_way(section: str, key: str) -> None:
    """A tracker may have lain there before: its sites name that address."""
    config = load_config(None, {f"ANALYTICS_{section}_{key}".upper(): "/ping"})

    found = {one.route: one.name for one in Server(config).endpoints()}

    is_free = key == "collect_path"
    assert (found["GET", "/ping"] == "clickhouse_ping_root") is is_free
    assert found["POST", "/"] == "clickhouse_post_root"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("CLICKHOUSE_API_PATH", "/api/v1"),
        ("CLICKHOUSE_API_PATH", "/dashboard/x"),
        ("CLICKHOUSE_API_PATH", "/a/../b"),
        ("CLICKHOUSE_API_PATH", "/a.js"),
        ("CLICKHOUSE_API_PATH", "/"),
        ("TRACKER_SCRIPT_PATH", "/clickhouse"),
        ("TRACKER_COLLECT_PATH", "/clickhouse/x"),
    ],
)
def test_the_path_for_clients_of_clickhouse_is_its_own(key: str, path: str) -> None:
    with pytest.raises(ConfigError, match=r"(?i)path"):
        load_config(None, {f"ANALYTICS_{key}": path})
    assert load_config(None, {"ANALYTICS_CLICKHOUSE_API_PATH": "/ch"}).clickhouse_api.path == "/ch"


@pytest.mark.parametrize("url", ["", "https://stats.example", "http://[::1]:8000", "https://stats.example/below/"])
def test_an_address_that_users_see(url: str) -> None:
    assert load_config(None, {"ANALYTICS_SERVER_PUBLIC_URL": url}).server.public_url == url


@pytest.mark.parametrize(
    "url", ["stats.example", "ftp://stats.example", "https://", "https://a b", "https://a/?b", "https://u:p@a", "/x"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="public_url"):
        load_config(None, {"ANALYTICS_SERVER_PUBLIC_URL": url})
