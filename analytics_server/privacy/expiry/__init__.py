"""Expiry: removes what is older than a site's retention."""
