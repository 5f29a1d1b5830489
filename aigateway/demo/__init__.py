"""The far side of the demo, a real authorization server and a real MCP server, and a browser to walk with."""
