"""What a list of secrets can be narrowed by: the name."""

from clients.api.strict import NamedFilter


class SecretFilter(NamedFilter):
    """`?name_contains=`."""
