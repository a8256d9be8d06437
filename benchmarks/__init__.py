"""Measures what the project promises; `python -m benchmarks`. docs/benchmarks.md explains each one."""
