"""The caller's own connections as `/api/v1/connections/`."""
