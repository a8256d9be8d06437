"""Cohorts and retention: who came for the first time when, and who of them came back."""
