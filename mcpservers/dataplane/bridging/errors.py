"""What ends a request upstream, told apart: the SDK has one error for most of it."""


class Unauthorized(Exception):
    """The upstream answered 401: it did not execute the request."""


class SessionLost(Exception):
    """The upstream answered 404: it knows the session no more and did not execute the request."""


class Broken(Exception):
    """The connection ended before the answer; nothing is known of the request's effect."""


class CannotBridge(Exception):
    """This has no counterpart in the other revision; the message says what and is safe to show."""
