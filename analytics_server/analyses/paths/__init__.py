"""Paths: which way sessions take through pages or events, forward from a start or backward from an end."""
