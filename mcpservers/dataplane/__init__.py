"""Bytes through: who calls, which server, whose credential, and the answer as it came."""
