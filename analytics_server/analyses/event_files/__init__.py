"""A site's events as they are stored, for other tools: NDJSON, CSV, Parquet."""
