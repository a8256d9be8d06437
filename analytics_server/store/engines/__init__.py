"""The engines behind the store: in this process, and a server of its own."""
