"""Parsing of a request: its credentials, and its question."""
