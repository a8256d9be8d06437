"""Types of saved things that belong to questions: goals, segments, annotations, saved queries.

Each module holds one type: what is sent, stored and shown, and what is checked before it is saved, so that those who
use it later can rely on it. What it names (a goal in a saved query) may go later; asking then says so.
"""
