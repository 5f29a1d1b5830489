"""The form of a provider in the admin: what a preset fills, a secret made in the same step, and a question first.

The form asks; `providers.authoring` decides. It ends in one of three ways: saved, checked without saving, or a
question about the connections that the change costs.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Manager
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from clients import rights
from clients.admin_forms import AuthoredForm, LinesField, ParametersField, PickField
from providers import authoring, presets
from providers.admin_impact import Question, question_about
from providers.admin_words import CALLBACKS, DELIMITERS, GRANTS, HELP, LABELS, METHODS, explained
from providers.models import AuthMethod, CallbackMode, OAuthProvider, default_grant_types
from providers.new_secret import NewSecret
from providers.presets import Parameter, Preset
from providers.validation import ENDPOINTS
from vault import secrets
from vault.models import Secret

EXISTING, NEW = "existing", "new"
WANTS_NONE = "A public client has no secret. Clear the value, or choose HTTP Basic or POST body."
WANTS_ONE = "Give the client secret that the provider shows for your app, or pick an existing secret."
PARAMETER = "parameter_"
# Where a preset may have placeholders.
BUILT = (*ENDPOINTS, "resource", "authorize_params")


class ProviderForm(AuthoredForm):
    """Every field of a provider that an admin sets.

    After `is_valid()`: `question` is what to ask before saving, if anything; with `only_check` nothing is saved.
    """

    grant_types = forms.MultipleChoiceField(
        choices=explained(GRANTS),
        initial=default_grant_types,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        error_messages={"required": "Tick at least one."},
    )
    token_endpoint_auth_method = forms.ChoiceField(
        label="Client authentication",
        choices=explained(METHODS),
        initial=AuthMethod.BASIC,
        widget=UnfoldAdminRadioSelectWidget(),
    )
    secret_source = forms.ChoiceField(
        label="Client secret",
        choices=[(EXISTING, "Existing"), (NEW, "New")],
        required=False,
        widget=forms.RadioSelect(),
    )
    client_secret_ref = PickField(label="Secret", help_text="Only secrets that you may use are listed.")
    new_secret_name = forms.CharField(
        label="Secret name",
        required=False,
        max_length=128,
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false", "autocapitalize": "characters"}),
        help_text="Capital letters, digits and underscores.",
    )
    new_secret_value = forms.CharField(
        label="Secret value",
        required=False,
        max_length=secrets.MAX_VALUE_LENGTH,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password", "spellcheck": "false"}),
        help_text="Written once and kept sealed. It is never shown again, to anyone.",
    )
    scopes = LinesField(help_text="Asked for at every consent, one on a line.")
    scope_delimiter = forms.ChoiceField(
        choices=DELIMITERS, widget=UnfoldAdminSelectWidget(), help_text="What stands between two scopes on the wire."
    )
    authorize_params = ParametersField(
        label="Authorize parameters",
        help_text="Added to the authorization request: name=value, one on a line. For example access_type=offline.",
    )
    callback_mode = forms.ChoiceField(
        choices=explained(CALLBACKS), initial=CallbackMode.PER_PROVIDER, widget=UnfoldAdminRadioSelectWidget()
    )

    class Meta:
        model = OAuthProvider
        fields: ClassVar = [
            "name",
            "display_name",
            "enabled",
            *ENDPOINTS,
            "account_claim",
            "resource",
            "client_id",
            "token_endpoint_auth_method",
            "client_secret_ref",
            "require_pkce",
            "grant_types",
            "scopes",
            "scope_delimiter",
            "authorize_params",
            "callback_mode",
            "keep_idle_connections",
        ]
        labels: ClassVar = LABELS
        help_texts: ClassVar = HELP

    def __init__(
        self,
        *args: Any,
        preset: Preset | None = None,
        only_check: bool = False,
        confirmed: str = "",
        **kwargs: Any,
    ) -> None:
        self.preset, self.only_check, self.confirmed = preset, only_check, confirmed
        self.question: Question | None = None
        super().__init__(*args, **kwargs)
        self.before = None if self.is_new else OAuthProvider.objects.get(pk=self.instance.pk)
        self._add_parameters()
        self.fields["scopes"].widget.attrs["data-tokens"] = "scopes"
        self.may_add_secret = rights.may(self.actor, "add", Secret)
        self._offer_secrets()
        if self.is_new:
            self._begin()
        offers_new = self.is_new and self.may_add_secret
        self.fields["secret_source"].initial = NEW if offers_new else EXISTING
        first = "name" if self.preset is None and self.is_new else "client_id"
        self.fields[next(iter(self.parameters), first)].widget.attrs["autofocus"] = True

    @property
    def parameters(self) -> list[str]:
        """Return the names of the fields that ask for the preset's placeholders."""
        return [name for name in self.fields if name.startswith(PARAMETER)]

    @property
    def new_secret(self) -> NewSecret | None:
        """Return the secret that is to be made together with the provider."""
        given = self.cleaned_data
        if given.get("secret_source") != NEW or not given.get("new_secret_value"):
            return None
        return NewSecret(given.get("new_secret_name", ""), given["new_secret_value"])

    def clean(self) -> dict[str, Any]:
        """Ask for the new secret's value, or for none."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        is_public = given.get("token_endpoint_auth_method") == AuthMethod.NONE
        if given.get("secret_source") == NEW and "new_secret_value" in given and is_public is bool(self.new_secret):
            text = WANTS_NONE if is_public else WANTS_ONE
            self.add_error("new_secret_value", ValidationError(text, code="invalid" if is_public else "required"))
        return given

    def fill(self, instance: OAuthProvider) -> None:
        """Set what the preset gives and the secret's name."""
        given = self.cleaned_data
        if self.preset is not None:
            instance.preset = self.preset.name
            self._build(instance)
        if given.get("secret_source") == NEW:
            instance.client_secret_ref = given.get("new_secret_name", "") if self.new_secret else ""

    def check(self, instance: OAuthProvider) -> None:
        """Find what else is wrong; an address that waits for its placeholder is no finding of its own."""
        waiting = [name for name in self._built if not getattr(instance, name)]
        instance.full_clean(exclude=waiting)

    def author(self, instance: OAuthProvider) -> None:
        """Save through the verb, unless there is something to ask first or only a check was wanted."""
        if self.only_check:
            instance.full_clean()
            return
        if self.before is not None:
            instance.full_clean()
            question = question_about(self.before, instance)
            if question is not None and self.confirmed != self._token(instance):
                self.question = question
                return
        authoring.save(self.actor, instance, new_secret=self.new_secret)

    @property
    def token(self) -> str:
        """Return what a confirmation has to carry: it holds for this change only."""
        return self._token(self.instance)

    def _token(self, instance: OAuthProvider) -> str:
        change = json.dumps([instance.fingerprint(), sorted(instance.scopes)])
        return hashlib.sha256(change.encode()).hexdigest()[:32]

    def _home(self, field: str, code: str) -> str | None:
        """Show what the model finds in a placeholder or in a secret's name where the form asked for it."""
        if field == "preset_parameters" and self.parameters:
            return next((name for name in self.parameters if name in self.errors), self.parameters[0])
        if field == "client_secret_ref" and self.cleaned_data.get("secret_source") == NEW:
            return "new_secret_name" if self.new_secret else "new_secret_value"
        return super()._home(field, code)

    def _offer_secrets(self) -> None:
        """Offer the secrets that the form's actor may use."""
        usable = rights.allowed(self.actor, "use", Secret.objects.all()).order_by("name")
        names = [(name, name) for name in usable.values_list("name", flat=True)]
        pick = cast(PickField, self.fields["client_secret_ref"])
        pick.offer(names, current=self.instance.client_secret_ref, empty="Select a secret")

    def _begin(self) -> None:
        """Start a new provider from its preset, under names that are free."""
        if self.preset is not None:
            self._start_from(self.preset)
        name = self.initial.get("name", "")
        wanted = f"{name.replace('-', '_').upper()}_CLIENT_SECRET" if name else ""
        self.fields["new_secret_name"].initial = wanted and free_name(wanted, Secret.objects, "_")

    def _start_from(self, preset: Preset) -> None:
        self.initial.update({name: getattr(preset, name) for name in presets.FILLED})
        self.initial["scopes"], self.initial["authorize_params"] = list(preset.scopes), dict(preset.authorize_params)
        self.initial["name"] = free_name(preset.name, OAuthProvider.objects, "-")
        for name in self._built:
            template = self.initial.pop(name)
            self.fields[name].required = False
            self.fields[name].widget.attrs["placeholder"] = template if isinstance(template, str) else ""
            self.fields[name].help_text = "Left empty, it is built from what you gave above."

    def _add_parameters(self) -> None:
        """Ask for each placeholder of the preset."""
        self._built: list[str] = []
        if self.preset is None:
            return
        stored = self.instance.preset_parameters
        for parameter in self.preset.parameters:
            self.fields[PARAMETER + parameter.name] = parameter_field(parameter, stored.get(parameter.name, ""))
        self.order_fields(self.parameters)
        if self.is_new:
            self._built = [name for name in BUILT if _has_placeholder(getattr(self.preset, name))]

    def _build(self, instance: OAuthProvider) -> None:
        """Build the addresses from the placeholders: what was typed wins."""
        preset = cast(Preset, self.preset)
        given = {one.name: self.cleaned_data.get(PARAMETER + one.name, "") for one in preset.parameters}
        if not all(given.values()):
            return
        now = presets.fields(preset, given)
        old = built_before(preset, self.before)
        for name in BUILT:
            typed = getattr(instance, name)
            if (not typed and name in self._built) or (typed and typed == old.get(name)):
                setattr(instance, name, now[name])
        instance.preset_parameters = given


def _has_placeholder(value: str | Mapping[str, str]) -> bool:
    """Tell whether a preset's address, or one of its parameters, waits for what is asked in the form."""
    return any("{" in text for text in ([value] if isinstance(value, str) else value.values()))


def built_before(preset: Preset, provider: OAuthProvider | None) -> dict[str, Any]:
    """Return what the preset makes of the stored placeholders; nothing when they do not fit it (any more)."""
    try:
        return {} if provider is None else presets.fields(preset, provider.preset_parameters)
    except ValidationError:
        return {}


def parameter_field(parameter: Parameter, stored: str) -> forms.Field:
    """Return the field that asks for a placeholder; what does not fit is refused with the rule and an example."""

    def fits(value: str) -> None:
        if not parameter.accepts(value):
            raise ValidationError(f"Give {parameter.rule_in_words}, for example {parameter.example}.", code="invalid")

    asked: dict[str, Any] = {"label": parameter.label, "initial": stored, "help_text": parameter.hint}
    if parameter.choices:
        choices = [(choice, choice) for choice in parameter.choices]
        return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(), **asked)
    attrs = {"spellcheck": "false", "autocapitalize": "none", "placeholder": parameter.example}
    return forms.CharField(validators=[fits], widget=UnfoldAdminTextInputWidget(attrs=attrs), **asked)


def free_name(wanted: str, rows: Manager[Any], joint: str) -> str:
    """Return the name, numbered if a row has it already."""
    taken = set(rows.filter(name__startswith=wanted).values_list("name", flat=True))
    numbered = (f"{wanted}{joint}{number}" for number in range(2, len(taken) + 3))
    return wanted if wanted not in taken else next(name for name in numbered if name not in taken)
