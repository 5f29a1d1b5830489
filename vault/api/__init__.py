"""The secrets as `/api/v1/secrets/`."""
