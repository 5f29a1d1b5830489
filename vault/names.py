"""The two shapes of names that the whole gateway uses (contract §4)."""

from django.core.validators import RegexValidator

NAME_RULE = "Use 1 to 63 characters: lower-case letters, digits and hyphens, starting with a letter."
REF_RULE = "Use 1 to 128 characters: A-Z, 0-9 and underscore, starting with a letter, for example GITHUB_CLIENT_SECRET."

valid_name = RegexValidator(r"\A[a-z][a-z0-9-]{0,62}\Z", NAME_RULE, code="invalid_name")
valid_ref = RegexValidator(r"\A[A-Z][A-Z0-9_]{0,127}\Z", REF_RULE, code="invalid_ref")
