"""A request read: who asks, and what."""
