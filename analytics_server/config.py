"""Settings: what can be set, the defaults, and how file and environment combine.

TOML file, then environment (`ANALYTICS_` + section + `_` + key, upper case), the
environment wins. Unknown keys are refused with the nearest valid name. Imports
only the error tree, the zones and the settings' types. Each key is explained in `config.example.toml` (a test holds
the two together).
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from analytics_server.errors import ConfigError
from analytics_server.settings.engine_address import engine_directory
from analytics_server.settings.sections import MailSection, OidcSection, check_mail, check_oidc
from analytics_server.settings.service_links import service_links
from analytics_server.settings.types import Hours, NotNegative, Port, Positive, RetentionDays, Seconds, Section, UrlPath
from analytics_server.spelling.host_names import allowed_host
from analytics_server.zones import find_zone, refusal

HEADER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
BASE_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")

OWN_PATHS = (
    *("/api/grafana", "/api/v1", "/dashboard", "/demo", "/healthz"),
    *("/mcp", "/metrics", "/openapi.json", "/readyz", "/share"),
)
"""What the server answers itself; the tracker's two paths can't be these, nor lie below them."""

ENVIRONMENT_PREFIX = "ANALYTICS_"


class ServerSection(Section, frozen=True, kw_only=True):
    """Where the server listens, and where its data lies."""

    host: str = "127.0.0.1"
    port: Port = 8000
    data_dir: str = "./data"
    public_url: str = ""
    trusted_proxies: tuple[str, ...] = ()
    client_ip_header: str = ""
    allowed_hosts: tuple[str, ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""
    shutdown_grace_s: Seconds = 25.0
    demo: bool = False


class ClickhouseSection(Section, frozen=True, kw_only=True):
    """Which ClickHouse, and how it is talked to."""

    url: str = ""
    database: str = "analytics"
    cluster: str = ""
    threads: Positive = 4
    connect_timeout_s: Seconds = 5.0
    insert_timeout_s: Seconds = 60.0
    start_timeout_s: Seconds = 60.0


class SitesSection(Section, frozen=True, kw_only=True):
    """How sites come to be."""

    create_unknown: bool = True
    max_sites: Positive = 10_000
    default_timezone: str = "UTC"
    default_profile: Literal["standard", "fr-exempt", "uk-statistics", "server-only"] = "standard"


class AccessSection(Section, frozen=True, kw_only=True):
    """Signing in: attempts, sessions, share links."""

    session_idle_s: Positive = 172_800
    session_absolute_s: Positive = 2_592_000
    invitation_s: Positive = 604_800
    sign_ins_per_account: Positive = 10
    sign_ins_per_account_in_all: Positive = 200
    sign_ins_per_address: Positive = 50
    link_opens_per_address: Positive = 600
    sign_in_window_s: Positive = 900


class CollectSection(Section, frozen=True, kw_only=True):
    """How events are read, attributed and enriched."""

    query_keys: tuple[str, ...] = ("page", "q", "s", "search", "query", "category", "id", "p", "tab", "lang")
    mask_emails: bool = True
    trailing_slash: Literal["keep", "strip"] = "keep"
    drop_bots: bool = True
    exclude_addresses: tuple[str, ...] = ()
    respect_dnt: bool = True
    respect_gpc: bool = True
    session_timeout_s: Positive = 1800
    client_session_timeout_s: Positive = 86_400
    max_sessions: Positive = 200_000
    duplicate_window_s: NotNegative = 86_400
    max_duplicate_ids: NotNegative = 5_000_000
    max_past_s: Positive = 86_400
    max_future_s: NotNegative = 300
    user_agent_cache: Positive = 10_000


class LimitsSection(Section, frozen=True, kw_only=True):
    """Bounds of requests, questions and live connections."""

    event_bytes: Positive = 65_536
    batch_bytes: Positive = 1_048_576
    batch_events: Positive = 1_000
    trusted_batch_bytes: Positive = 10_485_760
    trusted_batch_events: Positive = 10_000
    unfinished_bodies_mb: Positive = 128
    body_timeout_s: Seconds = 30.0
    props: Positive = 50
    prop_key_chars: Positive = 64
    prop_value_chars: Positive = 1_024
    name_chars: Positive = 120
    url_chars: Positive = 2_048
    title_chars: Positive = 512
    warnings: NotNegative = 100
    site_events_per_s: NotNegative = 0
    address_events_per_s: NotNegative = 0
    address_new_sites_per_h: NotNegative = 1_000
    limiter_addresses: Positive = 50_000
    query_bytes: Positive = 262_144
    query_rows: Positive = 10_000
    query_timeout_s: Seconds = 30.0
    site_waiting: Positive = 100
    export_files: Positive = 4
    export_timeout_s: Seconds = 3600.0
    export_memory_mb: Positive = 512
    live_sockets: Positive = 10_000
    live_sockets_without_token: Positive = 200
    address_sockets_without_token: Positive = 20


class SqlSection(Section, frozen=True, kw_only=True):
    """Bounds of one SQL query, and of all together."""

    timeout_s: Seconds = 30.0
    memory_mb: Positive = 512
    read_rows: Positive = 2_000_000_000
    read_mb: Positive = 200_000
    rows: Positive = 100_000
    answer_mb: Positive = 32
    max_chars: Positive = 20_000
    max_tokens: Positive = 6_000
    queries: Positive = 3
    waiting: Positive = 200
    site_queries: Positive = 50
    wait_s: Seconds = 10.0
    send_s: Seconds = 60.0


class ClickhouseApiSection(Section, frozen=True, kw_only=True):
    """The interface for clients of ClickHouse."""

    path: UrlPath = "/clickhouse"
    at_root: bool = True
    sites: Positive = 100
    held_mb: NotNegative = 64


class IngestSection(Section, frozen=True, kw_only=True):
    """The write-ahead log and the flush."""

    ack: Literal["fsync", "os"] = "fsync"
    wal_dir: str = ""
    wal_max_mb: Positive = 4_096
    wal_min_free_mb: NotNegative = 256
    historic_after_days: Positive = 31
    historic_wal_max_mb: Positive = 1_024
    pending_events: Positive = 20_000
    flush_interval_ms: Positive = 1_000
    batch_events: Positive = 100_000
    batch_mb: Positive = 32
    memory_events: NotNegative = 100_000
    retry_max_s: Seconds = 30.0


class PrivacySection(Section, frozen=True, kw_only=True):
    """What is respected, and how long data is kept."""

    visitor: Literal["daily", "off"] = "daily"
    retention_days: RetentionDays = 0
    rollup_retention_days: RetentionDays = 0
    audit_retention_days: RetentionDays = 400


class ExportSection(Section, frozen=True, kw_only=True):
    """Files of days."""

    directory: str = ""
    sites: tuple[str, ...] = ()
    after_hours: Hours = 48


class GeoSection(Section, frozen=True, kw_only=True):
    """The files of countries and cities."""

    database: str = ""
    reload_interval_s: Positive = 60


class TrackerSection(Section, frozen=True, kw_only=True):
    """How the script is served."""

    script_path: UrlPath = "/a.js"
    collect_path: UrlPath = "/track"


class DashboardSection(Section, frozen=True, kw_only=True):
    """The pages."""

    enabled: bool = True


class McpSection(Section, frozen=True, kw_only=True):
    """The interface for assistants."""

    enabled: bool = True
    rows: Positive = 100
    answer_bytes: Annotated[int, Meta(ge=4_096)] = 60_000


class LogSection(Section, frozen=True, kw_only=True):
    """The server's own log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "text"


class Config(Section, frozen=True, kw_only=True):
    """All settings; every section and every key has a default."""

    server: ServerSection = ServerSection()
    clickhouse: ClickhouseSection = ClickhouseSection()
    sites: SitesSection = SitesSection()
    access: AccessSection = AccessSection()
    oidc: OidcSection = OidcSection()
    mail: MailSection = MailSection()
    collect: CollectSection = CollectSection()
    limits: LimitsSection = LimitsSection()
    sql: SqlSection = SqlSection()
    clickhouse_api: ClickhouseApiSection = ClickhouseApiSection()
    ingest: IngestSection = IngestSection()
    privacy: PrivacySection = PrivacySection()
    export: ExportSection = ExportSection()
    geo: GeoSection = GeoSection()
    tracker: TrackerSection = TrackerSection()
    dashboard: DashboardSection = DashboardSection()
    mcp: McpSection = McpSection()
    log: LogSection = LogSection()

    @property
    def data_dir(self) -> Path:
        """Where everything lies that this server keeps, absolute."""
        return Path(self.server.data_dir).expanduser().resolve()

    @property
    def wal_dir(self) -> Path:
        """The write-ahead log's directory, absolute."""
        return Path(self.ingest.wal_dir).expanduser().resolve() if self.ingest.wal_dir else self.data_dir / "wal"

    @property
    def engine_dir(self) -> Path | None:
        """Where the engine in process keeps its files: without a setting in the data directory. None for a server."""
        return engine_directory(self.clickhouse.url) if self.clickhouse.url else self.data_dir / "clickhouse"


def section_keys() -> dict[str, dict[str, Any]]:
    """Every section's keys with their types: `{"server": {"host": str, …}, …}`."""
    sections = get_type_hints(Config)
    return {name: get_type_hints(sections[name], include_extras=True) for name in Config.__struct_fields__}


def load_config(path: Path | None, environment: Mapping[str, str] | None = None) -> Config:
    """Read the file (if any), lay the environment over it, and validate.

    Raises `ConfigError`, whose message names the key, the fault and the remedy.
    """
    environment = os.environ if environment is None else environment
    raw: dict[str, Any] = {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"The config file {path} can't be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"The config file {path} is not valid TOML: {error}.") from error
    _refuse_unknown(raw)
    for section, key, text in _from_environment(environment):
        raw.setdefault(section, {})[key] = _parse(section, key, text)
    try:
        config = msgspec.convert(raw, Config, strict=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"A setting has a wrong value: {error}.") from error
    if find_zone(config.sites.default_timezone) is None:
        raise ConfigError(f"[sites] default_timezone: {refusal(config.sites.default_timezone)}")
    if (header := config.server.client_ip_header) and not HEADER_NAME.fullmatch(header):
        raise ConfigError(f"[server] client_ip_header = {header!r} is no header's name: write one as CF-Connecting-IP.")
    if (public_url := config.server.public_url) and not BASE_URL.fullmatch(public_url):
        raise ConfigError(
            f"[server] public_url = {public_url!r} is no address of a server: "
            "write it as https://stats.example.com, with a path if there is one, and nothing behind."
        )
    _refuse_no_hosts(config.server.allowed_hosts)
    check_oidc(config.oidc, public_url)
    check_mail(config.mail, public_url)
    _refuse_taken_paths(config.tracker, config.clickhouse_api)
    return config


def _refuse_no_hosts(entries: tuple[str, ...]) -> None:
    for entry in entries:
        try:
            if entry != "*":
                allowed_host(entry)
        except ValueError as error:
            raise ConfigError(f"[server] allowed_hosts: {entry!r}: {error}; * alone allows any.") from error


def _refuse_taken_paths(tracker: TrackerSection, api: ClickhouseApiSection) -> None:
    tracked = {f"[tracker] {key}": getattr(tracker, key) for key in ("script_path", "collect_path")}
    for name, path in {"[clickhouse_api] path": api.path, **tracked}.items():
        if {".", ".."} & set(path.split("/")):
            raise ConfigError(f"{name} = {path!r}: browsers resolve '.' and '..', so they can't be in it.")
        for own in (*OWN_PATHS, api.path) if name in tracked else OWN_PATHS:
            if f"{path}/".startswith(f"{own}/"):
                raise ConfigError(f"{name} = {path!r}: the server answers {own} itself. Choose another path.")
    if f"{tracker.script_path}/".startswith(f"{tracker.collect_path}/"):
        raise ConfigError(
            f"[tracker] script_path = {tracker.script_path!r} lies in collect_path = {tracker.collect_path!r}: "
            "beacons are sent there. Choose another path for one of them."
        )


def _refuse_unknown(raw: Mapping[str, Any]) -> None:
    known = section_keys()
    for section, body in raw.items():
        if section not in known:
            raise ConfigError(f"There is no config section [{section}].{_nearest(section, known)}")
        if not isinstance(body, dict):
            raise ConfigError(f"[{section}] must be a section with keys, not a value.")
        for key in body:
            if key not in known[section]:
                raise ConfigError(f"[{section}] has no key {key!r}.{_nearest(key, known[section])}")


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Valid names: {', '.join(sorted(names))}."


NOT_SETTINGS = frozenset({"ANALYTICS_ADMIN_TOKEN", "ANALYTICS_CONFIG", "ANALYTICS_TOKEN", "ANALYTICS_URL"})
"""Environment variables with the prefix that are no keys of the file."""


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    known = section_keys()
    names = {
        f"{ENVIRONMENT_PREFIX}{section}_{key}".upper(): (section, key)
        for section, keys in known.items()
        for key in keys
    }
    found = []
    ignored = service_links(environment, ENVIRONMENT_PREFIX)
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in NOT_SETTINGS or variable in ignored:
            continue
        if variable not in names:
            raise ConfigError(f"The environment variable {variable} is no setting.{_nearest(variable, names)}")
        section, key = names[variable]
        found.append((section, key, text))
    return found


def ignored_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Variables with the settings' prefix that `load_config` passes over: they announce a service or a container."""
    return sorted(service_links(os.environ if environment is None else environment, ENVIRONMENT_PREFIX))


def _parse(section: str, key: str, text: str) -> Any:
    """An environment variable's text as the key's type; lists are comma-separated."""
    kind = section_keys()[section][key]
    if str(kind).startswith("tuple"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{ENVIRONMENT_PREFIX}{section}_{key}".upper() + f"={text!r}: {error}.") from error
