"""One spelling of what clients write in several: names of hosts."""
