"""ClickHouse, in process or as a server: the only room that knows clickhouse-connect."""

from analytics_server.store.backends import check_store, make_store, open_store
from analytics_server.store.migrate import migrate
from analytics_server.store.protocol import ResultSet, Store, StoreInfo

__all__ = ["ResultSet", "Store", "StoreInfo", "check_store", "make_store", "migrate", "open_store"]
