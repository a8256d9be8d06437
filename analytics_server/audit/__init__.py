"""The audit log: who did what, in a chain of entries per server that shows what was changed or removed."""
