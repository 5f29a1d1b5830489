"""How to talk to an upstream authorization server: the registry and the wire."""
