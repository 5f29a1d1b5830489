"""What the page of one provider says: its settings, what hangs on it, who may do what."""

from typing import Any

from django.contrib.auth.models import User

from clients import rights
from clients.holders import HERE, Holder, holders_of, superusers
from providers import impact, presets, registry
from providers.admin_filters import category_of
from providers.admin_words import CALLBACKS, GRANTS, METHODS
from providers.models import CallbackMode, OAuthProvider
from providers.validation import ENDPOINTS
from vault.models import Secret

LABELS = {name: name.replace("_", " ").capitalize() for name in ENDPOINTS}


def context(provider: OAuthProvider, viewer: User) -> dict[str, Any]:
    """Return what `viewer`, who may view the provider, is shown and offered."""
    uses = impact.uses(provider, viewer)
    preset = presets.get(provider.preset)
    return {
        "title": str(provider),
        "endpoints": [(LABELS[name], getattr(provider, name)) for name in ENDPOINTS],
        "auth_method": METHODS[provider.token_endpoint_auth_method][0],  # type: ignore[index]
        "secret_exists": Secret.objects.filter(name=provider.client_secret_ref).exists(),
        "secret": _visible_secret(provider, viewer),
        "grant_words": [GRANTS[grant][0] for grant in provider.grant_types],
        "callback_words": CALLBACKS[provider.callback_mode],  # type: ignore[index]
        "is_shared": provider.callback_mode == CallbackMode.SHARED,
        "parameters": [f"{name}={value}" for name, value in provider.authorize_params.items()],
        "uses": uses,
        "server_count": len(uses.servers) + uses.hidden_servers,
        "holders": [_row(holder) for holder in holders_of(provider)],
        "superusers": superusers(),
        "preset": preset,
        "category": category_of(provider),
        "connect_url": registry.offer_url(viewer, provider) if provider.enabled else "",
        "may_change": rights.may(viewer, "change", provider),
        "may_delete": rights.may(viewer, "delete", provider),
        "may_grant": rights.is_admin(viewer),
    }


def _visible_secret(provider: OAuthProvider, viewer: User) -> Secret | None:
    secret = Secret.objects.filter(name=provider.client_secret_ref).defer("value").first()
    return secret if secret and rights.may(viewer, "view", secret) else None


def _row(holder: Holder) -> dict[str, Any]:
    """Return a holder for the table, its rights by where they were given."""
    here = [action for action, through in holder.actions.items() if HERE in through]
    everywhere = [action for action, through in holder.actions.items() if HERE not in through]
    return {"holder": holder, "here": here, "everywhere": everywhere}
