"""Commands about people's data: export, erasure, expiry, the evidence report."""
