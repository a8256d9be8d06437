"""Events as Parquet files in a directory, one a site and day, for DuckDB, a lake or a warehouse to read on."""
