"""Settings of the demo's authorization server, which shares nothing with the gateway: own process, database, cookies.

From the environment: `DEMO_DATA_DIR` (its folder, with the registration file in it), `DEMO_ACCESS_TOKEN_SECONDS`
(default 8) and `DEMO_AS_ISSUER` (its own base URL, set by `__main__` once the port is known).
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from aigateway.demo.authserver.registration import Registration


def _required(name: str) -> str:
    if not (value := os.environ.get(name)):
        raise ImproperlyConfigured(f"{name} is not set")
    return value


DATA_DIR = Path(_required("DEMO_DATA_DIR"))
ISSUER = _required("DEMO_AS_ISSUER")
ACCESS_TOKEN_SECONDS = int(os.environ.get("DEMO_ACCESS_TOKEN_SECONDS", "8"))
REGISTRATION = Registration.read(DATA_DIR)

SECRET_KEY = REGISTRATION.signing_key
ALLOWED_HOSTS = [urlsplit(ISSUER).hostname]
ROOT_URLCONF = "aigateway.demo.authserver.urls"
USE_TZ = True
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

# Cookies do not know ports: without names of its own it would sign people out of the gateway on the same host.
SESSION_COOKIE_NAME = "demo_as_session"
CSRF_COOKIE_NAME = "demo_as_csrf"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "oauth2_provider",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "authserver.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "aigateway.demo.authserver.hashers.GeneratedSecretHasher",
]

OAUTH2_PROVIDER = {
    "SCOPES": {
        "profile": "See your name",
        "mcp:tools": "Use the demo tools as you",
    },
    "DEFAULT_SCOPES": ["profile"],
    "ACCESS_TOKEN_EXPIRE_SECONDS": ACCESS_TOKEN_SECONDS,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 24 * 3600,
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "CLIENT_SECRET_HASHER": "generated_secret",
    "OIDC_ISS_ENDPOINT": ISSUER,
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OAUTH2_GRANT_TYPES_SUPPORTED": [
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
    ],
    "OAUTH2_VALIDATOR_CLASS": "aigateway.demo.authserver.devices.DeviceValidator",
    "OAUTH_DEVICE_VERIFICATION_URI": f"{ISSUER}/device",
    "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": f"{ISSUER}/device?user_code={{user_code}}",
    "PKCE_REQUIRED": True,
    # Everything here runs on loopback, where RFC 8252 section 7.3 allows http.
    "ALLOWED_REDIRECT_URI_SCHEMES": ["http", "https"],
    # RFC 9700: no implicit or password grant, S256 only, no token in a query, `iss` sent, tokens stored as digests.
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
