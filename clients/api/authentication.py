"""Who calls the API: a bearer token, or the session of a signed-in user (with CSRF)."""

from django.contrib.auth.models import User
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from clients import activity, throttle, tokens
from clients.models import ApiToken

WHERE_TO_GET_ONE = (
    "Make an API token on the page `/tokens/`, or with `manage.py create_token USER`, and send it as "
    "`Authorization: Bearer TOKEN`."
)


class ApiTokenAuthentication(authentication.BaseAuthentication):
    """Accept `Authorization: Bearer <API token>`; never a token in the URL (F01)."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return the token's user; None when no bearer token was sent. Raises AuthenticationFailed, Throttled."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        row = tokens.recognise(token.strip())
        if row is None:
            # Asked only now: behind one proxy, one guesser must not stop everyone.
            if wait := throttle.seconds_to_wait():
                raise Throttled(wait=wait)
            throttle.count_failure()
            raise AuthenticationFailed(f"This token is not valid, has expired or was revoked. {WHERE_TO_GET_ONE}")
        activity.token_used(row.pk)
        return row.user, row

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401 (RFC 6750 §3)."""
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """Accept a signed-in session; CSRF is enforced for it."""

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401."""
        return "Bearer"
