"""The JSON of a provider (contract §4)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from clients.api.strict import Object, StrictFields, StringList
from providers import authoring, presets, validation
from providers.api import examples
from providers.models import OAuthProvider

READ_ONLY = ("uid", "callback_url", "created_at", "updated_at")
# Required, unless a preset fills them.
FILLED_BY_A_PRESET = ("display_name", "authorization_endpoint", "token_endpoint")


@extend_schema_serializer(examples=examples.PROVIDER)
class OAuthProviderSerializer(StrictFields, serializers.ModelSerializer[OAuthProvider]):
    """A provider. Its secret appears by name only.

    `display_name`, `authorization_endpoint` and `token_endpoint` are required without a `preset`; one fills every
    field left out, with its `preset_parameters` in the placeholders.
    """

    grant_types = StringList(required=False)
    scopes = StringList(required=False)
    authorize_params = Object(required=False)
    preset_parameters = Object(required=False)
    scope_delimiter = serializers.CharField(required=False, max_length=3, trim_whitespace=False)

    class Meta:
        model = OAuthProvider
        fields = ("uid", *authoring.FIELDS, "callback_url", "created_at", "updated_at")
        read_only_fields = READ_ONLY
        extra_kwargs: ClassVar[dict[str, Any]] = {
            **{name: {"validators": []} for name in ("name", "client_secret_ref")},
            **{name: {"required": False} for name in FILLED_BY_A_PRESET},
        }

    def to_internal_value(self, data: Any) -> Any:
        """Read the body; without a preset it must hold what one would fill."""
        has_preset = bool(isinstance(data, Mapping) and data.get("preset")) or self._preset() is not None
        for name in FILLED_BY_A_PRESET:
            self.fields[name].required = not has_preset
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse parameters for a provider that was made without a preset."""
        is_custom = isinstance(self.instance, OAuthProvider) and not self.instance.preset
        if is_custom and (findings := validation.preset_findings("", attrs.get("preset_parameters", {}))):
            raise ValidationError(findings)
        return attrs

    def create(self, validated_data: dict[str, Any]) -> OAuthProvider:
        """Save a new provider; what was typed wins over its preset."""
        name, parameters = validated_data.get("preset", ""), validated_data.get("preset_parameters", {})
        if findings := validation.preset_findings(name, parameters):
            raise ValidationError(findings)
        preset = presets.get(name)
        filled = presets.fields(preset, parameters) if preset else {}
        return authoring.save(self.context["request"].user, OAuthProvider(**{**filled, **validated_data}))

    def update(self, instance: OAuthProvider, validated_data: dict[str, Any]) -> OAuthProvider:
        """Save a changed provider; new parameters reach every field that nobody typed over."""
        parameters, preset = validated_data.get("preset_parameters"), self._preset()
        if preset and parameters is not None and parameters != instance.preset_parameters:
            current = {name: getattr(instance, name) for name in presets.FILLED}
            moved = presets.refill(preset, current, old=instance.preset_parameters, new=parameters)
            validated_data = {**moved, **validated_data}
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return authoring.save(self.context["request"].user, instance)

    def _preset(self) -> presets.Preset | None:
        return presets.get(self.instance.preset) if isinstance(self.instance, OAuthProvider) else None
