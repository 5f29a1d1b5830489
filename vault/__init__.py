"""What is kept, sealed: an admin's secrets and the users' tokens. Knows no HTTP."""
