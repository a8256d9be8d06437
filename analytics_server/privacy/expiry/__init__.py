"""Expiry: removes what is older than a site keeps its data."""
