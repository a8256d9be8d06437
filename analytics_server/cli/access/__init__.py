"""Commands about who may do what: people, tokens and share links."""
