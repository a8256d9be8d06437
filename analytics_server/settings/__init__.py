"""Sections of the settings that can contradict themselves; `config.py` puts them together with the others."""
