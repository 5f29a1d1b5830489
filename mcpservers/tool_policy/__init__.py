"""Which tools of a server its callers may see and call, and what happens when one changes after it was approved."""
