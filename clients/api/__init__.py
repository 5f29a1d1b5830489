"""What every API resource shares: who calls, pages, strict input, permissions."""
