"""Streamed answers of any length, and CSV without formulas for spreadsheets."""
