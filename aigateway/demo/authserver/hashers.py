"""The digest of client secrets that were generated, not chosen."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class GeneratedSecretHasher(PBKDF2PasswordHasher):
    """PBKDF2 with one iteration.

    Slow hashing protects guessable secrets; these are 256 random bits, checked on every introspection.
    """

    algorithm = "generated_secret"
    iterations = 1
