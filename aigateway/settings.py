"""Every setting of the gateway, its default and its unit. The only reader of the environment.

`docs/settings.md` explains them; `aigateway.checks` stops a start with an unsafe combination.
"""

import logging
import socket
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from aigateway import environment, silence
from aigateway.environment import flag, items, number, text, whole

BASE_DIR = Path(__file__).resolve().parent.parent
if (BASE_DIR / ".env").is_file():
    environment.env.read_env(BASE_DIR / ".env")

# --- Where things live -----------------------------------------------------------------------------
AIGW_DATA_DIR = Path(text("AIGW_DATA_DIR") or BASE_DIR / "data").absolute()
DATABASE_URL = text("DATABASE_URL")
REDIS_URL = text("REDIS_URL")
EMBEDDED = not DATABASE_URL

# --- Keys: from the environment, or made on first start of an embedded gateway, and only there ------
SECRET_KEY = text("SECRET_KEY")
FERNET_KEYS = items("FERNET_KEYS")
FERNET_KEYS_LOST = items("FERNET_KEYS_LOST")
FERNET_KEY_FILE: Path | None = None
if EMBEDDED:
    SECRET_KEY = SECRET_KEY or environment.first_start_key(AIGW_DATA_DIR, "secret_key")
    if not FERNET_KEYS:
        FERNET_KEY_FILE = AIGW_DATA_DIR / "fernet_key"
        FERNET_KEYS = [environment.first_start_key(AIGW_DATA_DIR, "fernet_key")]
for _name, _value in (("SECRET_KEY", SECRET_KEY), ("FERNET_KEYS", FERNET_KEYS)):
    if not _value:
        raise ImproperlyConfigured(
            f"{_name} is not set. With a DATABASE_URL the gateway makes no keys of its own: "
            f"set {_name} or {_name}_FILE."
        )

# --- The public address: links, redirect URIs, hosts, CSRF origins and Secure cookies come from it --
AIGW_BASE_URL = text("AIGW_BASE_URL", "http://127.0.0.1:8000").rstrip("/")
_is_https, _host = environment.public_address(AIGW_BASE_URL)
ALLOWED_HOSTS = [_host]
CSRF_TRUSTED_ORIGINS = [AIGW_BASE_URL]
AIGW_TRUSTED_PROXIES = items("AIGW_TRUSTED_PROXIES")

DEBUG = flag("AIGW_DEBUG")

# --- Applications ----------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "clients.admin_app.GatewayAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_standardized_errors",
    "django_filters",
    "guardian",
    "axes",
    "csp",
    "django_htmx",
    "aigateway",
    "changes",
    "audit",
    "metrics",
    "clients",
    "vault",
    "providers",
    "connections",
    "mcpservers",
]
MIDDLEWARE = [
    "aigateway.middleware.HealthMiddleware",
    "aigateway.middleware.RequestIdMiddleware",
    "aigateway.middleware.NoStoreMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "aigateway.page_policy.PagePolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "aigateway.urls"
ASGI_APPLICATION = "aigateway.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Database --------------------------------------------------------------------------------------
DATABASE_POOL_MAX = whole("DATABASE_POOL_MAX", 20, minimum=2)
if EMBEDDED:
    DATABASES: dict[str, Any] = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": AIGW_DATA_DIR / "aigateway.sqlite3",
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }
else:
    _database = environment.postgresql(DATABASE_URL)
    _database["CONN_HEALTH_CHECKS"] = True
    _database["OPTIONS"] = {
        # A network that goes silent must not hold a call for minutes (seconds; the last in milliseconds).
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        **_database.get("OPTIONS", {}),
        "pool": {
            "min_size": 1,
            "max_size": DATABASE_POOL_MAX,
            "timeout": silence.POOL_SECONDS,
            "connection_class": silence.Connection,
        },
    }
    DATABASES = {"default": _database}

# --- Who is calling --------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ANONYMOUS_USER_NAME = None
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "/connections/"
LOGOUT_REDIRECT_URL = "sign-in"
SESSION_ENGINE = "clients.session_store"
SESSION_COOKIE_NAME = "aigw_session"
SESSION_COOKIE_SECURE = _is_https
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = whole("AIGW_SESSION_HOURS", 12, minimum=1) * 3600
CSRF_COOKIE_NAME = "aigw_csrf"
CSRF_COOKIE_SECURE = _is_https
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"

# Five wrong passwords for one account from one address lock that pair; fifty from one address lock the address.
AXES_FAILURE_LIMIT = whole("AIGW_SIGN_IN_FAILURE_LIMIT", 5, minimum=1)
AXES_COOLOFF_TIME = number("AIGW_SIGN_IN_LOCKOUT_MINUTES", 15, minimum=1) / 60
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_HTTP_RESPONSE_CODE = 429
AXES_LOCKOUT_CALLABLE = "clients.pages.locked_out"
# Kept out of the record of a wrong password; `next` may be a consent link.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "next", "csrfmiddlewaretoken"]
AXES_VERBOSE = False
AXES_DISABLE_ACCESS_LOG = True
AXES_CLIENT_IP_CALLABLE = "clients.addresses.client_address"
AIGW_FAILED_TOKENS_PER_MINUTE = whole("AIGW_FAILED_TOKENS_PER_MINUTE", 50, minimum=1)

# --- Pages -----------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
# In the session: the only cookies are the two above.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = whole("AIGW_HSTS_SECONDS", 31_536_000 if _is_https else 0)
# A reverse proxy ends TLS; the scheme of our links comes from AIGW_BASE_URL, so no redirect is made here.
SECURE_SSL_REDIRECT = False
# What `check --deploy` would warn of, and is not ours to decide: that redirect (W008); and whether every other host of
# this one's domain speaks HTTPS too, for good (W005, W021). docs/operations.md says how to have both.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024

# --- API -------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "clients.api.authentication.ApiTokenAuthentication",
        "clients.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "clients.api.pagination.Pages",
    "DEFAULT_SCHEMA_CLASS": "clients.api.description.Description",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "PAGE_SIZE": 50,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
DRF_STANDARDIZED_ERRORS = {
    "EXCEPTION_HANDLER_CLASS": "clients.api.errors.ExceptionHandler",
    "EXCEPTION_FORMATTER_CLASS": "clients.api.errors.ExceptionFormatter",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AI Gateway",
    "DESCRIPTION": "Providers, servers, secrets and connections of the gateway.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "OAS_VERSION": "3.1.0",
}

# --- Going out -------------------------------------------------------------------------------------
AIGW_OUTBOUND_ALLOW = items("AIGW_OUTBOUND_ALLOW")
AIGW_OUTBOUND_CA_BUNDLE = text("AIGW_OUTBOUND_CA_BUNDLE")
AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS = number("AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS", 15, minimum=0.1)

# --- Consent and vault -----------------------------------------------------------------------------
CONSENT_TICKET_SECONDS = 3600
CONSENT_STATE_SECONDS = 600
AIGW_CONSENT_WAIT_SECONDS = number("AIGW_CONSENT_WAIT_SECONDS", 25)
VAULT_REFRESH_LEEWAY_SECONDS = number("VAULT_REFRESH_LEEWAY_SECONDS", 150)
VAULT_REFRESH_AHEAD_SECONDS = number("VAULT_REFRESH_AHEAD_SECONDS", 600)
VAULT_REFRESH_LEASE_SECONDS = number("VAULT_REFRESH_LEASE_SECONDS", 45, minimum=1)
VAULT_REFRESH_GIVE_UP_HOURS = number("VAULT_REFRESH_GIVE_UP_HOURS", 24)
VAULT_SCAN_INTERVAL_SECONDS = number("VAULT_SCAN_INTERVAL_SECONDS", 30, minimum=0.2)
VAULT_SCAN_BATCH = whole("VAULT_SCAN_BATCH", 2000, minimum=1)
VAULT_REFRESH_CONCURRENCY_PER_PROVIDER = whole("VAULT_REFRESH_CONCURRENCY_PER_PROVIDER", 8, minimum=1)
VAULT_IDLE_DAYS = number("VAULT_IDLE_DAYS", 60)
VAULT_COLLECT_INTERVAL_SECONDS = number("VAULT_COLLECT_INTERVAL_SECONDS", 300, minimum=0.2)
VAULT_DEAD_RETENTION_DAYS = number("VAULT_DEAD_RETENTION_DAYS", 0)
DEVICE_POLL_INTERVAL_SECONDS = number("DEVICE_POLL_INTERVAL_SECONDS", 2, minimum=0.2)
VAULT_REVOCATION_ATTEMPTS = whole("VAULT_REVOCATION_ATTEMPTS", 8, minimum=1)

# --- Data plane ------------------------------------------------------------------------------------
AIGW_UPSTREAM_CONNECT_TIMEOUT_SECONDS = number("AIGW_UPSTREAM_CONNECT_TIMEOUT_SECONDS", 5, minimum=0.1)
AIGW_UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS = number("AIGW_UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS", 120, minimum=0.1)
AIGW_UPSTREAM_IDLE_TIMEOUT_SECONDS = number("AIGW_UPSTREAM_IDLE_TIMEOUT_SECONDS", 300, minimum=0.1)
AIGW_MAX_REQUEST_BYTES = whole("AIGW_MAX_REQUEST_BYTES", 4 * 1024 * 1024, minimum=1024)
AIGW_REQUEST_TIMEOUT_SECONDS = number("AIGW_REQUEST_TIMEOUT_SECONDS", 60, minimum=1)
AIGW_CALL_TIMEOUT_SECONDS = number("AIGW_CALL_TIMEOUT_SECONDS", 3600, minimum=1)
AIGW_CALLS_PER_SERVER = whole("AIGW_CALLS_PER_SERVER", 200, minimum=1)
AIGW_STREAMS_PER_SERVER = whole("AIGW_STREAMS_PER_SERVER", 500, minimum=1)
AIGW_CALLS_PER_USER = whole("AIGW_CALLS_PER_USER", 100, minimum=1)
AIGW_STREAMS_PER_USER = whole("AIGW_STREAMS_PER_USER", 100, minimum=1)
AIGW_BUSY_WAIT_SECONDS = number("AIGW_BUSY_WAIT_SECONDS", 1)
AIGW_CIRCUIT_FAILURES = whole("AIGW_CIRCUIT_FAILURES", 10, minimum=1)
AIGW_CIRCUIT_OPEN_SECONDS = number("AIGW_CIRCUIT_OPEN_SECONDS", 10, minimum=0.1)
AIGW_CALLS_PER_MINUTE_PER_SERVER = whole("AIGW_CALLS_PER_MINUTE_PER_SERVER", 0)
AIGW_CALLS_PER_MINUTE_PER_USER = whole("AIGW_CALLS_PER_MINUTE_PER_USER", 0)
AIGW_UPSTREAM_CONNECTIONS = whole("AIGW_UPSTREAM_CONNECTIONS", 5000, minimum=1)
AIGW_UPSTREAM_CONNECTIONS_PER_SERVER = whole("AIGW_UPSTREAM_CONNECTIONS_PER_SERVER", 1000, minimum=1)
AIGW_SESSION_IDLE_SECONDS = number("AIGW_SESSION_IDLE_SECONDS", 24 * 3600, minimum=60)
AIGW_BRIDGED_SESSIONS = whole("AIGW_BRIDGED_SESSIONS", 1000, minimum=1)
AIGW_BRIDGED_SESSION_IDLE_SECONDS = number("AIGW_BRIDGED_SESSION_IDLE_SECONDS", 300, minimum=1)
AIGW_BRIDGED_ANSWER_SECONDS = number("AIGW_BRIDGED_ANSWER_SECONDS", 600, minimum=1)
AIGW_DISCOVERY_MAX_AGE_SECONDS = number("AIGW_DISCOVERY_MAX_AGE_SECONDS", 3600, minimum=60)
CHANGE_POLL_SECONDS = 0.4
ACTIVITY_FLUSH_SECONDS = number("AIGW_ACTIVITY_FLUSH_SECONDS", 10, minimum=0.1)
AIGW_LOG_CALLS = flag("AIGW_LOG_CALLS", True)
AIGW_ACTIVITY_RETENTION_DAYS = number("AIGW_ACTIVITY_RETENTION_DAYS", 30)

# --- Metrics ---------------------------------------------------------------------------------------
LOOPBACK = "127.0.0.0/8,::1"
AIGW_METRICS_ALLOW = items("AIGW_METRICS_ALLOW", LOOPBACK)
AIGW_METRICS_HISTORY_DAYS = number("AIGW_METRICS_HISTORY_DAYS", 14, minimum=1)
# A folder that the processes of one host share; `serve` makes one for its tree.
AIGW_METRICS_DIR = text("AIGW_METRICS_DIR")

# --- Work in the background ------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL or "memory://localhost/"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 300
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A broker that has gone silent must not hold its callers up for good (seconds).
_broker_limits = {"socket_timeout": 5, "socket_connect_timeout": 5, "health_check_interval": 10}
CELERY_BROKER_TRANSPORT_OPTIONS = _broker_limits if REDIS_URL else {"polling_interval": 0.01}
CELERY_TASK_DEFAULT_QUEUE = "aigateway"
AIGW_WORKER_THREADS = whole("AIGW_WORKER_THREADS", 4, minimum=1)
DISCOVERY_SCAN_SECONDS = 30
CELERY_BEAT_SCHEDULE = {
    "refresh-due": {
        "task": "connections.tasks.refresh_due",
        "schedule": VAULT_SCAN_INTERVAL_SECONDS,
        "options": {"expires": VAULT_SCAN_INTERVAL_SECONDS},
    },
    "refresh-service-tokens": {
        "task": "connections.tasks.refresh_service_tokens",
        "schedule": VAULT_SCAN_INTERVAL_SECONDS,
        "options": {"expires": VAULT_SCAN_INTERVAL_SECONDS},
    },
    "collect-orphans": {
        "task": "connections.tasks.collect_orphans",
        "schedule": VAULT_COLLECT_INTERVAL_SECONDS,
        "options": {"expires": VAULT_COLLECT_INTERVAL_SECONDS},
    },
    "poll-devices": {
        "task": "connections.tasks.poll_devices",
        "schedule": DEVICE_POLL_INTERVAL_SECONDS,
        "options": {"expires": DEVICE_POLL_INTERVAL_SECONDS},
    },
    "collect-sessions": {
        "task": "mcpservers.tasks.collect_sessions",
        "schedule": VAULT_COLLECT_INTERVAL_SECONDS,
        "options": {"expires": VAULT_COLLECT_INTERVAL_SECONDS},
    },
    "refresh-tools-due": {
        "task": "mcpservers.tasks.refresh_tools_due",
        "schedule": DISCOVERY_SCAN_SECONDS,
        "options": {"expires": DISCOVERY_SCAN_SECONDS},
    },
    "prune-calls": {
        "task": "mcpservers.tasks.prune_calls",
        "schedule": VAULT_COLLECT_INTERVAL_SECONDS,
        "options": {"expires": VAULT_COLLECT_INTERVAL_SECONDS},
    },
    "retry-revocations": {
        "task": "connections.tasks.retry_revocations",
        "schedule": VAULT_SCAN_INTERVAL_SECONDS,
        "options": {"expires": VAULT_SCAN_INTERVAL_SECONDS},
    },
}

if REDIS_URL:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}

# --- Mail: none unless there is a server and a sender ------------------------------------------------
EMAIL_URL = text("EMAIL_URL")
AIGW_EMAIL_FROM = text("AIGW_EMAIL_FROM")
if bool(EMAIL_URL) != bool(AIGW_EMAIL_FROM):
    raise ImproperlyConfigured("EMAIL_URL and AIGW_EMAIL_FROM go together: set both, or neither.")
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
EMAIL_TIMEOUT = 10
if EMAIL_URL:
    globals().update(environment.email(EMAIL_URL))
    DEFAULT_FROM_EMAIL = SERVER_EMAIL = AIGW_EMAIL_FROM

# --- Admin theme -----------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "AI Gateway",
    "SITE_HEADER": "AI Gateway",
    "SITE_SUBHEADER": "Administration",
    "SITE_SYMBOL": "key",
    "SITE_URL": "/connections/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": f"{STATIC_URL}favicon.svg"}],
    "STYLES": [f"{STATIC_URL}aigateway-admin.css"],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "COLORS": {  # one accent, that of the other pages (`--accent`)
        "primary": {
            "50": "#f1f5fe",
            "100": "#e2eafd",
            "200": "#c9d8fb",
            "300": "#a4bdf6",
            "400": "#8fb0ff",
            "500": "#5b84ea",
            "600": "#2b57d0",
            "700": "#1f45ae",
            "800": "#1d3a8c",
            "900": "#1c3470",
            "950": "#0b1430",
        }
    },
    "SIDEBAR": {"navigation": "clients.admin_site.navigation"},
}
AXES_ENABLE_ADMIN = False

# --- Logs: one JSON line per event on standard error -------------------------------------------------
LOG_LEVEL = text("AIGW_LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in logging.getLevelNamesMapping():
    raise ImproperlyConfigured(f"AIGW_LOG_LEVEL is {LOG_LEVEL!r}; write DEBUG, INFO, WARNING or ERROR.")
INSTANCE = socket.gethostname()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "aigateway.logs.json_formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # At INFO and below these print whole URLs, form bodies and tokens; Celery's, two lines for every scan.
        name: {"level": "WARNING"}
        for name in (
            "celery.beat",
            "celery.worker.strategy",
            "celery.app.trace",
            "httpx",
            "httpx2",
            "httpcore2",
            "urllib3",
            "requests_oauthlib",
            "oauthlib",
            "aiohttp.access",
            "axes",
        )
    }
    # The SDK quotes what a server sent, which may be the credential that it was sent. Discovery says what matters.
    | {"mcp": {"level": "CRITICAL"}},
}
