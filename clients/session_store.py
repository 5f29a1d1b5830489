"""Browser sessions in the database, under a digest of the cookie: a copy of the database signs nobody in."""

import hashlib
from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.utils import timezone

DIGEST_BYTES = 20  # as hexadecimal, what the column holds


class SessionStore(db.SessionStore):
    """Django's, which keeps the cookie itself."""

    def exists(self, session_key: str) -> bool:
        """Tell whether there is such a session."""
        return super().exists(_digest(session_key))

    async def aexists(self, session_key: str) -> bool:
        """Tell whether there is such a session."""
        return await super().aexists(_digest(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """Return the row to save."""
        return _under_digest(super().create_model_instance(data))

    async def acreate_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """Return the row to save."""
        return _under_digest(await super().acreate_model_instance(data))

    def delete(self, session_key: str | None = None) -> None:
        """Delete a session, this one unless another is named."""
        if key := session_key or self.session_key:
            super().delete(_digest(key))

    async def adelete(self, session_key: str | None = None) -> None:
        """Delete a session, this one unless another is named."""
        if key := session_key or self.session_key:
            await super().adelete(_digest(key))

    def kept(self) -> AbstractBaseSession | None:
        """Return the row as it is kept, unless it has expired."""
        return self._get_session_from_db()

    def _get_session_from_db(self) -> AbstractBaseSession | None:
        try:
            return self.model.objects.get(**self._wanted())
        except self.model.DoesNotExist:
            self._session_key = None
            return None

    async def _aget_session_from_db(self) -> AbstractBaseSession | None:
        try:
            return await self.model.objects.aget(**self._wanted())
        except self.model.DoesNotExist:
            self._session_key = None
            return None

    def _wanted(self) -> dict[str, Any]:
        return {"session_key": _digest(self.session_key or ""), "expire_date__gt": timezone.now()}


def _under_digest(row: AbstractBaseSession) -> AbstractBaseSession:
    row.session_key = _digest(row.session_key)
    return row


def _digest(session_key: str) -> str:
    return hashlib.blake2b(session_key.encode(), digest_size=DIGEST_BYTES, person=b"aigw session").hexdigest()
