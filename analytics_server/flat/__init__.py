"""Reports as flat rows, for tools that draw tables and charts from plain JSON."""
