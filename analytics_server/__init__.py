"""A self-hosted, privacy-first, consent-free web-analytics server."""

__version__ = "0.1.0"
