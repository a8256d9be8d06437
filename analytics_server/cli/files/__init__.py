"""Commands that write a site's events to files."""
