"""Contract §5 for DRF: what one may not view is a 404 (the queryset), what one may view but not do a 403 (here)."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

from clients import rights

ACTIONS = {
    "list": "view",
    "retrieve": "view",
    "create": "add",
    "update": "change",
    "partial_update": "change",
    "destroy": "delete",
    # What one may not view is a 404; that one may give and take rights is asked by the actions themselves.
    "permissions": "view",
    "grant_permissions": "view",
    "take_permissions": "view",
}


def caller(request: Request) -> User:
    """Return who calls; for views that only a known caller reaches."""
    return cast(User, request.user)


class ObjectRights(IsAuthenticated):
    """Ask for the right that the view's action needs; an action of its own names it in `view.rights_asked`."""

    message: ClassVar[str] = ""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the caller is known and, to create something, may do so."""
        if not super().has_permission(request, view):
            return False
        return view.action != "create" or self._may(request, view, view.queryset.model)

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        """Tell whether the caller may do this to this object; an action that names no right is refused."""
        return self._may(request, view, obj)

    def _may(self, request: Request, view: Any, target: Any) -> bool:
        asked = {**ACTIONS, **getattr(view, "rights_asked", {})}.get(view.action)
        if asked is None:
            return False
        self.message = rights.refusal(asked, target)  # type: ignore[misc]
        return rights.may(request.user, asked, target)
