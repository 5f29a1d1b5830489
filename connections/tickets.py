"""The signed ticket of an `authorize_url`: for whom, which provider, which scopes, which server; good for one hour.

The user is in it as a keyed digest, so a link that leaks names no one and needs no lookup to be checked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.utils.crypto import constant_time_compare, salted_hmac

from connections.refusals import Code, ConsentRefused

SALT = "connections.ticket"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a link asks for; `user` is opaque."""

    user: str
    provider_uid: UUID
    scopes: tuple[str, ...]
    server_name: str

    def is_for(self, user_id: int) -> bool:
        """Tell whether the link was made for this user."""
        return constant_time_compare(self.user, _opaque(user_id))


def write(*, user_id: int, provider_uid: UUID, scopes: Sequence[str], server_name: str) -> str:
    """Sign a ticket."""
    content = {"u": _opaque(user_id), "p": provider_uid.hex, "s": canonical(scopes), "n": server_name}
    return signing.dumps(content, salt=SALT, compress=True)


def read(ticket: str) -> Ticket:
    """Open a ticket. Raises ConsentRefused when it was altered or is older than `CONSENT_TICKET_SECONDS`."""
    try:
        content: dict[str, Any] = signing.loads(ticket, salt=SALT, max_age=settings.CONSENT_TICKET_SECONDS)
    except signing.SignatureExpired:
        raise ConsentRefused(Code.TICKET_EXPIRED, "This link is older than one hour and no longer works.") from None
    except signing.BadSignature:
        what = "This link is not complete, or it was changed on the way."
        raise ConsentRefused(Code.TICKET_INVALID, what) from None
    return Ticket(content["u"], UUID(content["p"]), tuple(content["s"]), content["n"])


def canonical(scopes: Sequence[str]) -> list[str]:
    """Return the scopes sorted, each once."""
    return sorted(set(scopes))


def _opaque(user_id: int) -> str:
    return salted_hmac(f"{SALT}.user", str(user_id), algorithm="sha256").hexdigest()
