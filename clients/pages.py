"""Sign-in and sign-out, the one door for pages and admin alike, and what a guesser is told (F08)."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from clients import throttle


class SignInForm(AuthenticationForm):
    """Username and password; one message for every way in which they can be wrong."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "Username and password do not fit together. Capitals count in both; check them and try again.",
    }


class SignIn(auth_views.LoginView):
    """Take a username and password, then go on to `next` if it is a path of this gateway."""

    template_name = "clients/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Refuse an address that has failed too often, whichever accounts it tried."""
        if wait := throttle.seconds_to_wait():
            return _wait(request, seconds=wait)
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Count a wrong password; an empty field is not a guess."""
        if form.non_field_errors():
            throttle.count_failure()
        return super().form_invalid(form)

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        """Return `next` if it is safe, else an empty string (A11).

        Stricter than Django: only an absolute path, since nothing here links to itself by host, and never
        this page, which would send a signed-in browser in circles.
        """
        wanted = self.request.POST.get("next", self.request.GET.get("next", ""))
        is_ours = wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
        return wanted if is_ours and wanted.partition("?")[0] != self.request.path else ""


sign_in = SignIn.as_view()
sign_out = auth_views.LogoutView.as_view()


def locked_out(
    request: HttpRequest, response: object = None, credentials: Mapping[str, str] | None = None
) -> HttpResponse:
    """Answer a sign-in to an account that is locked for this address (called by django-axes).

    The lock starts anew with each try, so the whole of it is still ahead.
    """
    return _wait(request, seconds=int(settings.AXES_COOLOFF_TIME * 3600), username=request.POST.get("username", ""))


def _wait(request: HttpRequest, *, seconds: int, username: str = "") -> HttpResponse:
    minutes = -(-seconds // 60)
    context = {"username": username, "wait": "a minute" if minutes <= 1 else f"{minutes} minutes"}
    response = render(request, "clients/locked_out.html", context, status=429)
    response["Retry-After"] = str(seconds)
    return response
