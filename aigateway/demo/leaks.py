"""Looking for credentials where none may be: in the files that the gateway wrote.

The walk never learns a token. The authorization server keeps only digests of the tokens it issued; so every run of
characters in the gateway's files that could be a token is digested and compared.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

TOKEN_LENGTH = 30  # oauthlib's: letters and digits
TOKEN_LIKE = re.compile(rb"[A-Za-z0-9]{%d,}" % TOKEN_LENGTH)
TABLES = ("oauth2_provider_accesstoken", "oauth2_provider_refreshtoken")


def issued_tokens(authserver_database: Path) -> set[str]:
    """Return the SHA-256 digests of the access and refresh tokens that the authorization server knows now."""
    with closing(sqlite3.connect(f"file:{authserver_database}?mode=ro", uri=True)) as database:
        rows = [row for table in TABLES for row in database.execute(f"SELECT token_checksum FROM {table}")]  # noqa: S608
    return {digest for (digest,) in rows}


def leaks(files: Iterable[Path], values: dict[str, str], digests: set[str]) -> list[str]:
    """Name each credential that stands readable in a file: `values` by their names, tokens by their digests."""
    found = []
    for path in files:
        content = path.read_bytes()
        found += [f"{name} in {path.name}" for name, value in values.items() if value.encode() in content]
        if any(hashlib.sha256(word).hexdigest() in digests for word in _words(content)):
            found.append(f"a token of the authorization server in {path.name}")
    return found


def _words(content: bytes) -> Iterable[bytes]:
    for run in TOKEN_LIKE.findall(content):
        yield from (run[start : start + TOKEN_LENGTH] for start in range(len(run) - TOKEN_LENGTH + 1))
