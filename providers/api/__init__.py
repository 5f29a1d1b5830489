"""The providers as `/api/v1/oauth-providers/`."""
