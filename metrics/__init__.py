"""What happened here, in numbers: counted on the hot path, published beside it, kept for a while, scraped."""
