"""The door, and the tokens with which programs come in."""

from django.urls import path

from clients import pages, token_pages

urlpatterns = [
    path("sign-in/", pages.sign_in, name="sign-in"),
    path("sign-out/", pages.sign_out, name="sign-out"),
    path("tokens/", token_pages.own, name="tokens"),
    path("tokens/<uuid:uid>/revoke/", token_pages.revoke, name="token-revoke"),
]
