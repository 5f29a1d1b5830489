"""A user's usable token: consent, refresh, revocation, and the pages about them."""
