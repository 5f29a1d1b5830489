"""What changed: one counter that tells every process to drop what it remembers."""
