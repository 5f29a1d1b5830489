"""Examples for the schema: what one sends, and what comes back."""

from drf_spectacular.utils import OpenApiExample

FROM_PRESET = {
    "name": "okta",
    "preset": "okta",
    "preset_parameters": {"domain": "acme.okta.com"},
    "client_id": "0oa1b2c3",
    "client_secret_ref": "OKTA_CLIENT_SECRET",
}
CUSTOM = {
    "name": "acme",
    "display_name": "Acme",
    "authorization_endpoint": "https://auth.example.com/authorize",
    "token_endpoint": "https://auth.example.com/token",
    "revocation_endpoint": "https://auth.example.com/revoke",
    "token_endpoint_auth_method": "client_secret_basic",
    "client_id": "ai-gateway",
    "client_secret_ref": "ACME_CLIENT_SECRET",
    "scopes": ["read", "write"],
}
_MADE = {
    "uid": "0b2a6c1e-4f3d-4a57-9c1b-6f0f3f5a7d21",
    **CUSTOM,
    "preset": "",
    "preset_parameters": {},
    "device_authorization_endpoint": "",
    "userinfo_endpoint": "",
    "account_claim": "",
    "issuer": "",
    "resource": "",
    "grant_types": ["browser_consent"],
    "scope_delimiter": " ",
    "authorize_params": {},
    "require_pkce": False,
    "enabled": True,
    "keep_idle_connections": False,
    "callback_mode": "per_provider",
    "callback_url": "https://gateway.example.com/oauth/v1/callback/acme",
    "created_at": "2026-01-02T03:04:05Z",
    "updated_at": "2026-01-02T03:04:05Z",
}
_PRESET = {
    "name": "okta",
    "display_name": "Okta",
    "category": "Identity & SSO",
    "authorization_endpoint": "https://{domain}/oauth2/v1/authorize",
    "token_endpoint": "https://{domain}/oauth2/v1/token",
    "parameters": [
        {
            "name": "domain",
            "hint": "Host of the Okta org, or a custom domain",
            "example": "acme.okta.com",
            "rule": "a host name with its dots, no https://, no slash, no user name",
            "choices": [],
        }
    ],
    "scopes": ["openid", "profile", "email", "offline_access"],
    "notes": ["offline_access is needed for a refresh token."],
}

PROVIDER = [
    OpenApiExample("From the catalog", FROM_PRESET, request_only=True),
    OpenApiExample("Any other provider", CUSTOM, request_only=True),
    OpenApiExample("A provider", _MADE, response_only=True),
]
CHANGE = [OpenApiExample("Other scopes", {"scopes": ["read"]}, request_only=True), PROVIDER[-1]]
PRESET = [OpenApiExample("Okta, in part", _PRESET, response_only=True)]
