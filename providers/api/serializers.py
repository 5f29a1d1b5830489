"""The JSON of a provider (contract §4)."""

from typing import Any, ClassVar

from rest_framework import serializers

from clients.api.strict import Object, StrictFields, StringList
from providers import authoring
from providers.models import OAuthProvider

READ_ONLY = ("uid", "callback_url", "created_at", "updated_at")


class OAuthProviderSerializer(StrictFields, serializers.ModelSerializer[OAuthProvider]):
    """A provider. Its secret appears by name only."""

    grant_types = StringList(required=False)
    scopes = StringList(required=False)
    authorize_params = Object(required=False)
    scope_delimiter = serializers.CharField(required=False, max_length=3, trim_whitespace=False)

    class Meta:
        model = OAuthProvider
        fields = ("uid", *authoring.FIELDS, "callback_url", "created_at", "updated_at")
        read_only_fields = READ_ONLY
        extra_kwargs: ClassVar[dict[str, Any]] = {name: {"validators": []} for name in ("name", "client_secret_ref")}

    def create(self, validated_data: dict[str, Any]) -> OAuthProvider:
        """Save a new provider."""
        return authoring.save(self.context["request"].user, OAuthProvider(**validated_data))

    def update(self, instance: OAuthProvider, validated_data: dict[str, Any]) -> OAuthProvider:
        """Save a changed provider."""
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return authoring.save(self.context["request"].user, instance)
