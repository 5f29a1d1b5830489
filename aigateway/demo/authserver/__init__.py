"""A real OAuth 2.0 authorization server for the demo: a small Django project of its own on Django OAuth Toolkit."""
