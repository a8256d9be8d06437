"""The evidence bundle: what a site stores, why and how long, as a report that can be filed and verified."""
