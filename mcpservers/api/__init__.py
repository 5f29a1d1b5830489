"""The servers as `/api/v1/mcp-servers/`."""
