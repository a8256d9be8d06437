"""From declared endpoints to routes, and what audit entries say of requests."""
