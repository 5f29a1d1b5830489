"""Paths of the authorization server; the toolkit builds its RFC 8414 metadata from these names."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.generic import TemplateView
from oauth2_provider.views.introspect import IntrospectTokenView

from aigateway.demo.authserver import devices, views

oauth2_patterns = [
    path("authorize", views.ConsentView.as_view(), name="authorize"),
    path("token", views.CountedTokenView.as_view(), name="token"),
    path("revoke", views.CountedRevokeView.as_view(), name="revoke-token"),
    path("device-authorization", devices.DeviceEndpoint.as_view(), name="device-authorization"),
    path("device", devices.UserCodeView.as_view(), name="device"),
    path("device/<slug:client_id>/<slug:user_code>", devices.ConfirmView.as_view(), name="device-confirm"),
    path("introspect", IntrospectTokenView.as_view(), name="introspect"),
    path("userinfo", views.UserInfoView.as_view(), name="user-info"),
    path(".well-known/oauth-authorization-server", devices.MetadataView.as_view(), name="oauth-server-metadata"),
]
urlpatterns = [
    path("", TemplateView.as_view(template_name="authserver/home.html"), name="home"),
    path("", include((oauth2_patterns, "oauth2_provider"))),
    path("device/allowed", TemplateView.as_view(template_name="authserver/device_allowed.html"), name="device-allowed"),
    path("device/denied", TemplateView.as_view(template_name="authserver/device_denied.html"), name="device-denied"),
    path("sign-in", LoginView.as_view(template_name="authserver/sign_in.html"), name="sign-in"),
    path("sign-out", LogoutView.as_view(), name="sign-out"),
    path("operator/ledger", views.show_ledger, name="ledger"),
]
