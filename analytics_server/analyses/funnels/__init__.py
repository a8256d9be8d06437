"""Funnels: how many subjects take one step after the other, how long it takes them, and who drops out."""
