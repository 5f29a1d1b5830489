"""`NAME/permissions/` of every resource: who may do what to an object, and giving and taking it (contract §5)."""

from collections.abc import Collection
from typing import Any

from django.db.models import Model
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from clients import granting, holders
from clients.api.permissions import caller
from clients.api.strict import StrictFields, refuse_unknown_parameters
from clients.holders import Holder

RECEIVERS = ("user", "group")
THROUGH = {holders.HERE: "object", holders.EVERYWHERE: "global"}


class GrantSerializer(StrictFields):
    """One user or group, and rights on the object."""

    user = serializers.CharField(required=False, max_length=150)
    group = serializers.CharField(required=False, max_length=150)
    permissions = serializers.ListField(child=serializers.CharField(max_length=40), allow_empty=False)

    def validate_permissions(self, actions: list[str]) -> list[str]:
        """Refuse what cannot be granted on this kind of object."""
        known = granting.actions_on(self.context["target"])
        unknown = [action for action in actions if action not in known]
        if unknown:
            text = f"{unknown[0]!r} cannot be granted on one object. Use some of {', '.join(known)}."
            raise ValidationError(text, "invalid_choice")
        return list(dict.fromkeys(actions))

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Find the receiver; there must be exactly one."""
        named = [kind for kind in RECEIVERS if kind in attrs]
        if not named:
            raise ValidationError({"user": ErrorDetail("Name a user or a group.", "required")})
        if len(named) > 1:
            raise ValidationError({"group": ErrorDetail("Name a user or a group, not both.", "invalid")})
        return {**attrs, "receiver": _receiver(named[0], attrs[named[0]])}


class HeldSerializer(serializers.Serializer[Any]):
    """A right, and through what it is held."""

    permission = serializers.CharField()
    through = serializers.ListField(
        child=serializers.CharField(),
        help_text="`object`, `global`, `superuser`, or `group NAME` when a user is asked for",
    )


class HolderSerializer(serializers.Serializer[Any]):
    """A user or a group."""

    user = serializers.CharField(allow_null=True)
    group = serializers.CharField(allow_null=True)
    permissions = HeldSerializer(many=True)


class HoldersSerializer(serializers.Serializer[Any]):
    """Everyone who was granted something; superusers may do everything anyway."""

    holders = HolderSerializer(many=True)
    superusers = serializers.ListField(child=serializers.CharField())


EXAMPLES = [
    OpenApiExample("To a user", {"user": "alice", "permissions": ["view", "attach"]}, request_only=True),
    OpenApiExample("To a group", {"group": "mcp-editors", "permissions": ["view"]}, request_only=True),
]
LISTED = OpenApiExample(
    "Held",
    {
        "holders": [
            {"user": None, "group": "admins", "permissions": [{"permission": "attach", "through": ["global"]}]},
            {"user": "alice", "group": None, "permissions": [{"permission": "view", "through": ["object"]}]},
        ],
        "superusers": ["root"],
    },
    response_only=True,
)
OF_USER = OpenApiParameter("user", description="What this user may do, through groups as well.")
TAKEN = [
    OpenApiParameter("user", description="From this user; or name a group."),
    OpenApiParameter("group", description="From this group."),
    OpenApiParameter(
        "permissions", many=True, description="What to take. All of these may be sent as the body instead."
    ),
]


class PermissionActions:
    """A viewset mixin: the rights on one object, for those who may give and take them."""

    get_object: Any

    @extend_schema(parameters=[OF_USER], responses=HoldersSerializer, examples=[LISTED], filters=False)
    @action(detail=True, methods=["get"], filter_backends=(), pagination_class=None)
    def permissions(self, request: Request, name: str) -> Response:
        """Return who was granted which right on the object, and through what."""
        target = self._target(request, ["user"])
        asked = request.query_params.get("user")
        return Response(_listed(target) if asked is None else _held_by(asked, target))

    @extend_schema(request=GrantSerializer, responses=HoldersSerializer, examples=[*EXAMPLES, LISTED])
    @permissions.mapping.post
    def grant_permissions(self, request: Request, name: str) -> Response:
        """Give rights on the object, never beyond one's own; all of them or none."""
        target = self._target(request, ())
        grant = _read(request.data, target)
        granting.grant_all(caller(request), grant["receiver"], grant["permissions"], target)
        return Response(_listed(target))

    @extend_schema(parameters=TAKEN, responses={204: None})
    @permissions.mapping.delete
    def take_permissions(self, request: Request, name: str) -> Response:
        """Take back what was granted on the object itself; all of it or nothing."""
        target = self._target(request, ("permissions", *RECEIVERS))
        grant = _read(request.data or _from_query(request), target)
        granting.take_all(caller(request), grant["receiver"], grant["permissions"], target)
        return Response(status=204)

    def _target(self, request: Request, parameters: Collection[str]) -> Model:
        target: Model = self.get_object()
        granting.require_giver(caller(request), target)
        refuse_unknown_parameters(request.query_params, parameters)
        return target


def _read(body: Any, target: Model) -> dict[str, Any]:
    grant = GrantSerializer(data=body, context={"target": target})
    grant.is_valid(raise_exception=True)
    read: dict[str, Any] = grant.validated_data
    return read


def _from_query(request: Request) -> dict[str, Any]:
    params = request.query_params
    given: dict[str, Any] = {kind: params[kind] for kind in RECEIVERS if kind in params}
    named = [name.strip() for value in params.getlist("permissions") for name in value.split(",") if name.strip()]
    return given | ({"permissions": named} if named else {})


def _receiver(kind: str, name: str) -> granting.Receiver:
    found = granting.receiver_named(kind, name)
    if found is None:
        what = "group" if kind == "group" else "active user"
        raise ValidationError({kind: ErrorDetail(f"There is no {what} called {name}.", "not_found")})
    return found


def _listed(target: Model) -> dict[str, Any]:
    return {"holders": [_shown(holder) for holder in holders.holders_of(target)], "superusers": holders.superusers()}


def _held_by(name: str, target: Model) -> dict[str, Any]:
    user: Any = _receiver("user", name)
    return {"holders": [_shown(holders.rights_of(user, target))], "superusers": holders.superusers()}


def _shown(holder: Holder) -> dict[str, Any]:
    return {
        "user": holder.name if holder.kind == "user" else None,
        "group": holder.name if holder.kind == "group" else None,
        "permissions": [
            {"permission": action, "through": sorted(THROUGH.get(way, way) for way in through)}
            for action, through in holder.actions.items()
        ],
    }
