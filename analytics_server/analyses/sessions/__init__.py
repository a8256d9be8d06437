"""Sessions one by one: the list of those that a filter chooses, and what happened in one of them."""
