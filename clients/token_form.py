"""The form with which people make an API token for themselves: a name and how long it lasts."""

from datetime import datetime, timedelta

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils import timezone

from clients import tokens
from clients.models import ApiToken

NEVER = "never"
LASTS = (("30", "30 days"), ("90", "90 days"), ("365", "1 year"), (NEVER, "No end"))
USUAL = "90"


class TokenForm(forms.Form):
    """What the token is for, and when it ends by itself."""

    name = forms.CharField(max_length=100, error_messages={"required": "Say what the token is for."})
    lasts = forms.ChoiceField(choices=LASTS, error_messages={"required": "Choose how long it lasts."})

    def clean_name(self) -> str:
        """Refuse a name that cannot be read in a list or a log."""
        name = str(self.cleaned_data["name"])
        if not name.isprintable():
            raise ValidationError("The name has a character that cannot be printed. Type it again without.")
        return name

    def make(self, user: User) -> tuple[ApiToken, str]:
        """Make the token of a valid form; return its row and the token itself, for the one time it is shown."""
        return tokens.create(user, name=self.cleaned_data["name"], expires_at=self._expires_at())

    def _expires_at(self) -> datetime | None:
        lasts = self.cleaned_data["lasts"]
        return None if lasts == NEVER else timezone.now() + timedelta(days=int(lasts))


def blank(name: str = "") -> TokenForm:
    """Return the form as it is first shown."""
    return TokenForm(initial={"name": name, "lasts": USUAL})
