"""The page with the form of a provider: create, edit, check, and ask before connections are cut off."""

from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from clients import rights
from providers import admin_catalog, check, presets
from providers.admin_form import ProviderForm
from providers.findings import Finding
from providers.models import CallbackMode, OAuthProvider
from providers.presets import Preset

FORM = "admin/providers/oauthprovider/form.html"
CATALOG = "admin/providers/oauthprovider/catalog.html"
# Folded while a preset has filled them: an admin reads them when something is wrong there, or out of interest.
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Scopes & grant types",
        "scopes",
        ("scopes", "grant_types", "scope_delimiter", "authorize_params", "resource"),
    ),
    (
        "OAuth endpoints",
        "endpoints",
        (
            "authorization_endpoint",
            "token_endpoint",
            "revocation_endpoint",
            "device_authorization_endpoint",
            "issuer",
        ),
    ),
    ("Account", "account", ("userinfo_endpoint", "account_claim")),
    ("Callback", "callback", ("callback_mode",)),
    ("Unused connections", "idle", ("keep_idle_connections",)),
)


def create(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the catalog, then the form; make the provider. Raises PermissionDenied."""
    if not model_admin.has_add_permission(request):
        raise PermissionDenied(rights.refusal("add", OAuthProvider))
    if request.method != "POST" and "preset" not in request.GET:
        return render(request, CATALOG, {**_page(model_admin, request), **admin_catalog.context(request)})
    name = request.POST.get("preset", "") if request.method == "POST" else request.GET["preset"]
    preset = presets.get(name)
    if name and preset is None:
        messages.error(request, f"There is no preset {name[:80]!r}. Pick one that the catalog has.")
        return redirect(reverse("admin:providers_oauthprovider_add"))
    return _serve(model_admin, request, None, preset)


def edit(model_admin: Any, request: HttpRequest, provider: OAuthProvider) -> HttpResponse:
    """Show the form of a provider that exists; change it."""
    return _serve(model_admin, request, provider, presets.get(provider.preset))


def _serve(
    model_admin: Any, request: HttpRequest, provider: OAuthProvider | None, preset: Preset | None
) -> HttpResponse:
    form_class = model_admin.get_form(request, provider, change=provider is not None)
    if request.method != "POST":
        return _show(model_admin, request, form_class(instance=provider, preset=preset))
    form: ProviderForm = form_class(
        request.POST,
        instance=provider,
        preset=preset,
        only_check="_check" in request.POST,
        confirmed=request.POST.get("confirmed", ""),
    )
    if not form.is_valid():
        return _show(model_admin, request, form)
    if form.only_check:
        return _show(model_admin, request, form, _checked(form))
    if form.question is not None:
        return _show(model_admin, request, form)
    return _saved(model_admin, request, form)


def _checked(form: ProviderForm) -> list[Finding] | None:
    """Return what a check finds; nothing when the one who asks may not send the secret there, which the form says."""
    secret = form.new_secret
    try:
        return check.check_as(form.actor, form.instance, client_secret=secret.value if secret else None)
    except rights.PermissionRefused as refused:
        form.add_error(refused.attr if refused.attr in form.fields else None, refused.detail)
        return None


def _saved(model_admin: Any, request: HttpRequest, form: ProviderForm) -> HttpResponse:
    provider = form.instance
    message = model_admin.construct_change_message(request, form, [], form.is_new)
    if form.is_new:
        model_admin.log_addition(request, provider, message)
        messages.success(request, f"{provider} is created. Register its callback URL at the provider, then connect.")
    elif form.changed_data:
        model_admin.log_change(request, provider, message)
        messages.success(request, f"{provider} is saved.")
    return redirect(reverse("admin:providers_oauthprovider_detail", args=[provider.pk]))


def _show(
    model_admin: Any, request: HttpRequest, form: ProviderForm, findings: list[Finding] | None = None
) -> HttpResponse:
    provider = OAuthProvider.objects.filter(pk=form.instance.pk).first() if form.instance.pk else None
    context = {
        **_page(model_admin, request),
        "title": f"Edit {provider}" if provider else "Create provider",
        "original": provider,
        "form": form,
        "media": form.media,
        "preset": form.preset,
        "is_new": form.is_new,
        "callback_url": _callback_url(form),
        "callback_base": OAuthProvider(name="").callback_url,
        "parameter_fields": [form[name] for name in form.parameters],
        "groups": [_group(form, *group) for group in GROUPS],
        "wrong": [form[name] for name in form.fields if name in form.errors],
        "findings": None if findings is None else [(_label(form, finding.field), finding) for finding in findings],
        "question": form.question,
        "retype": form.is_bound and bool(request.POST.get("new_secret_value")),
    }
    return render(request, FORM, context)


def _label(form: ProviderForm, field: str) -> str:
    """Return what the form calls a field that a finding is about."""
    if field == "client_secret_ref":
        return "Client secret"
    return str(form[field].label) if field in form.fields else field.replace("_", " ").capitalize()


def _page(model_admin: Any, request: HttpRequest) -> dict[str, Any]:
    return {**model_admin.admin_site.each_context(request), "opts": model_admin.opts, "user": cast(User, request.user)}


def _group(form: ProviderForm, title: str, slug: str, names: tuple[str, ...]) -> dict[str, Any]:
    fields = [form[name] for name in names if name in form.fields]
    is_wrong = any(field.errors for field in fields)
    is_filled = form.preset is not None and form.is_new
    return {"title": title, "slug": slug, "fields": fields, "is_open": is_wrong or not is_filled}


def _callback_url(form: ProviderForm) -> str:
    """Return what to register at the provider, for the name as it will be."""
    mode = form["callback_mode"].value() or CallbackMode.PER_PROVIDER
    name = form["name"].value() if "name" in form.fields else form.instance.name
    return OAuthProvider(name=name or "NAME", callback_mode=mode).callback_url
