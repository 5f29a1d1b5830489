"""The JSON of a secret: its value goes in and never comes out (C07)."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from clients.api.strict import StrictFields
from vault import registry, secrets
from vault.models import Secret


class UseSerializer(serializers.Serializer[registry.Use]):
    """Something that refers to the secret; `deleted` while its tokens still have to be revoked with it."""

    kind = serializers.CharField()
    name = serializers.CharField()
    deleted = serializers.BooleanField()


class SecretListSerializer(serializers.ListSerializer[Any]):
    """Asks for the users of a page of secrets at once."""

    def to_representation(self, data: Any) -> list[dict[str, Any]]:
        """Return the rows."""
        rows = list(data)
        child = cast(SecretSerializer, self.child)
        child.uses = registry.used_by_each([row.name for row in rows])
        found: list[dict[str, Any]] = super().to_representation(rows)
        return found


class SecretSerializer(StrictFields, serializers.ModelSerializer[Secret]):
    """A secret by name; who uses it; never its value."""

    uses: dict[str, list[registry.Use]] | None = None
    value = serializers.CharField(write_only=True, trim_whitespace=False, max_length=secrets.MAX_VALUE_LENGTH)
    used_by = serializers.SerializerMethodField()

    class Meta:
        model = Secret
        fields = ("name", "description", "value", "created_at", "updated_at", "used_by")
        read_only_fields = ("created_at", "updated_at")
        list_serializer_class = SecretListSerializer
        extra_kwargs: ClassVar[dict[str, Any]] = {"name": {"validators": []}}

    @extend_schema_field(UseSerializer(many=True))
    def get_used_by(self, secret: Secret) -> list[dict[str, Any]]:
        """Return what refers to the secret."""
        uses = registry.used_by(secret.name) if self.uses is None else self.uses[secret.name]
        return [{"kind": use.kind, "name": use.name, "deleted": use.is_deleted} for use in uses]

    def create(self, validated_data: dict[str, Any]) -> Secret:
        """Seal and save a new secret."""
        value = validated_data.pop("value")
        return secrets.write(Secret(**validated_data), value, actor=self.context["request"].user)

    def update(self, instance: Secret, validated_data: dict[str, Any]) -> Secret:
        """Rotate the value when there is one; change the description."""
        actor, value = self.context["request"].user, validated_data.pop("value", None)
        for name, changed in validated_data.items():
            setattr(instance, name, changed)
        if value is None:
            return secrets.describe(instance, actor=actor)
        return secrets.write(instance, value, actor=actor)
