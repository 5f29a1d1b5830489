"""What a provider can do to us. Every message is safe to show and to log.

    OAuthError
    ├── ProviderRefused      it said no, with an error code (RFC 6749 §5.2)
    ├── ProviderUnavailable  it did not answer, or asked us to wait; the same call may work later
    ├── BadAnswer            it answered something that is no OAuth answer
    ├── AuthorizationPending the user has not used the device code yet (RFC 8628 §3.5)
    └── SlowDown             the same, and we asked too often

Messages hold the provider's name and a word of a fixed shape; never a body, a URL or a token.
"""

from providers.quirks import standard_error


class OAuthError(Exception):
    """The conversation with a provider failed."""

    def __init__(self, provider_name: str, why: str) -> None:
        super().__init__(provider_name, why)
        self.provider_name = provider_name
        self.why = why


class ProviderRefused(OAuthError):
    """The provider said no; `error` is its code, or `unrecognised` when that is not shaped like one."""

    def __init__(self, provider_name: str, error: str) -> None:
        super().__init__(provider_name, error)
        self.error = error

    def __str__(self) -> str:
        return f"{self.provider_name} refused: {self.error}"

    @property
    def standard_error(self) -> str:
        """Return RFC 6749's word for `error`, which may be the provider's own."""
        return standard_error(self.error)

    @property
    def is_terminal(self) -> bool:
        """Tell whether the grant itself is dead, so that only a new consent helps."""
        return self.standard_error == "invalid_grant"


class ProviderUnavailable(OAuthError):
    """The provider did not answer or asked us to wait; `why` is a word such as `timeout` or `status_503`."""

    def __init__(self, provider_name: str, why: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(provider_name, why)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.provider_name} is not available: {self.why}"


class BadAnswer(OAuthError):
    """The provider's answer cannot be used; `why` is a word such as `not_json` or `redirect`."""

    def __str__(self) -> str:
        return f"{self.provider_name} gave an answer that cannot be used: {self.why}"


class AuthorizationPending(OAuthError):
    """The user has not answered yet: ask again after the interval (RFC 8628 §3.5)."""

    def __init__(self, provider_name: str, why: str = "authorization_pending") -> None:
        super().__init__(provider_name, why)

    def __str__(self) -> str:
        return f"{self.provider_name} is still waiting for the user"


class SlowDown(OAuthError):
    """Still pending, and the interval grows by five seconds for this and all later requests (RFC 8628 §3.5)."""

    def __init__(self, provider_name: str, why: str = "slow_down") -> None:
        super().__init__(provider_name, why)

    def __str__(self) -> str:
        return f"{self.provider_name} was asked too often and is still waiting for the user"
