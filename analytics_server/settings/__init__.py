"""What settings are made of: their types, sections that can contradict themselves, and variables that are none."""
