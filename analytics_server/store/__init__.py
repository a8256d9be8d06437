"""ClickHouse, in process or as a server: the only package that uses clickhouse-connect."""

from analytics_server.store.backends import capabilities_of, check_store, make_store, open_store
from analytics_server.store.migrate import migrate
from analytics_server.store.protocol import Capabilities, ResultSet, Store, StoreInfo

__all__ = [
    "Capabilities",
    "ResultSet",
    "Store",
    "StoreInfo",
    "capabilities_of",
    "check_store",
    "make_store",
    "migrate",
    "open_store",
]
