"""Profiles: a legal basis as a setting of a site. Tables of switches, and what follows from them."""
