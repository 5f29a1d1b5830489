"""MCP servers: who may call them, and the bytes through."""
