"""Answers of any length, and what makes CSV harmless on the way."""
