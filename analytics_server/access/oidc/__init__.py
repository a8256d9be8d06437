"""Sign-in through an OpenID Connect provider: the code flow with PKCE and a nonce."""
