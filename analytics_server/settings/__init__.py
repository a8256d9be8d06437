"""What settings are made of: their types, and which variables of the environment are none."""
