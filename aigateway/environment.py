"""Read the environment: typed values, `NAME_FILE`, and the keys that a first start makes.

Only `aigateway.settings` and the processes that start it use this module.
"""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.FileAwareEnv()


def text(name: str, default: str = "") -> str:
    """Return the variable (or the content of the file that `NAME_FILE` names), stripped.

    Raises ImproperlyConfigured, naming the variable, when the file cannot be read.
    """
    try:
        return str(env.str(name, default=default)).strip()
    except OSError as exc:
        raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read: {exc.strerror}") from exc


def items(name: str, default: str = "") -> list[str]:
    """Return a comma list without its empty parts."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def flag(name: str, default: bool = False) -> bool:
    """Return a yes/no variable; anything but true/false, yes/no, on/off, 1/0 stops the start."""
    value = text(name, "true" if default else "false").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; write true or false.")


def number(name: str, default: float, *, minimum: float = 0) -> float:
    """Return a number not below `minimum`; anything else stops the start, naming the variable."""
    value = text(name, str(default))
    try:
        parsed = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; write a number.") from None
    if not minimum <= parsed < float("inf"):
        raise ImproperlyConfigured(f"{name} is {value}; the least allowed is {minimum:g}.")
    return parsed


def whole(name: str, default: int, *, minimum: int = 0) -> int:
    """Return a whole number not below `minimum`."""
    value = number(name, default, minimum=minimum)
    if value != int(value):
        raise ImproperlyConfigured(f"{name} is {value}; write a whole number.")
    return int(value)


def public_address(base_url: str) -> tuple[bool, str]:
    """Return whether the public URL is https, and its host as a Host header spells it."""
    try:
        parts = urlsplit(base_url)
        is_origin = not (parts.path or parts.query or parts.fragment or parts.username) and parts.port != 0
    except ValueError:
        is_origin = False
    if not is_origin or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ImproperlyConfigured("AIGW_BASE_URL must look like https://gateway.example.com, with no path.")
    return parts.scheme == "https", f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname


def postgresql(url: str) -> dict[str, Any]:
    """Return Django's database settings for a PostgreSQL URL. The message never shows the URL: it holds a password."""
    try:
        database: dict[str, Any] = env.db_url_config(url)
    except ValueError:
        database = {}
    if "postgresql" not in database.get("ENGINE", "") or not database.get("NAME"):
        raise ImproperlyConfigured(
            "DATABASE_URL must look like postgresql://user:password@host:5432/name; "
            "leave it out for the embedded SQLite."
        )
    return database


def email(url: str) -> dict[str, Any]:
    """Return Django's e-mail settings for a URL. The message never shows the URL: it holds a password."""
    try:
        config: dict[str, Any] = env.email_url_config(url)
    except (ImproperlyConfigured, KeyError, ValueError):
        raise ImproperlyConfigured(
            "EMAIL_URL must look like smtp+tls://user:password@mail.example.com:587; leave it out to send no mail."
        ) from None
    return config


def first_start_key(folder: Path, file_name: str) -> str:
    """Return the key kept in `folder/file_name`, making it (0600) on the first start, before there is a database.

    Written to a private file and linked into place, so that of two processes that start at once one
    makes the key and the other reads that same key, never half of it.
    """
    try:
        return _kept_key(folder, file_name)
    except OSError as exc:
        raise ImproperlyConfigured(
            f"AIGW_DATA_DIR: {folder} cannot hold the keys of a first start ({exc.strerror})."
        ) from exc


def _kept_key(folder: Path, file_name: str) -> str:
    path = folder / file_name
    if not path.exists():
        if any(folder.glob("*.sqlite3")):
            raise ImproperlyConfigured(
                f"{path} is gone, and this is no first start: there is a database beside it. Restore the key from a "
                "backup; a new one cannot open what is stored."
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = folder / f".{file_name}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(secrets.token_urlsafe(48) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first; its key is the key
        finally:
            draft.unlink()
    key = path.read_text(encoding="ascii").strip()
    if not key:
        raise ImproperlyConfigured(f"{path} is empty. Restore it from a backup; a new key cannot open stored tokens.")
    return key
