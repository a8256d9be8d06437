"""Expiry: what is older than a site keeps it is removed."""
