"""MCPServer: where tools live, how to authenticate there, and what was last seen of it."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from mcpservers import validation
from vault.fields import SealedTextField
from vault.models import SealedQuerySet
from vault.names import valid_name


class Kind(models.TextChoices):
    """Reached by URL, or run in process."""

    REMOTE = "remote", "Remote"
    MANAGED = "managed", "Managed"


class Transport(models.TextChoices):
    """How a remote server speaks."""

    STREAMABLE_HTTP = "streamable_http", "Streamable HTTP"
    SSE = "sse", "HTTP+SSE (2024-11-05)"


class ConsentDelivery(models.TextChoices):
    """How a missing consent reaches the caller (contract §6)."""

    AUTO = "auto", "Automatic"
    ERROR = "error", "JSON-RPC error"
    TOOL_RESULT = "tool_result", "Tool result"


def default_auth() -> dict[str, Any]:
    """Send no credential."""
    return {"mode": "none"}


class MCPServer(models.Model):
    """An MCP server (contract §4). `auth` is the contract's object; `provider_uid` is what it was attached to.

    `capabilities` keeps what discovery last saw: `{"protocol_version", "capabilities", "server_info",
    "instructions", "discover"}`; `tools` the tools as the server listed them.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=63, unique=True, validators=[valid_name])
    description = models.CharField(max_length=256, blank=True)
    enabled = models.BooleanField(default=True)
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.REMOTE)
    managed_type = models.CharField(max_length=63, blank=True)
    config = models.JSONField(default=dict, blank=True)
    url = models.CharField(max_length=2000, blank=True)
    transport = models.CharField(max_length=20, choices=Transport.choices, default=Transport.STREAMABLE_HTTP)
    auth = models.JSONField(default=default_auth)
    provider_uid = models.UUIDField(null=True, blank=True, editable=False, db_index=True)
    consent_delivery = models.CharField(max_length=16, choices=ConsentDelivery.choices, default=ConsentDelivery.AUTO)
    tools = models.JSONField(default=list, editable=False)
    capabilities = models.JSONField(default=dict, editable=False)
    tools_refreshed_at = models.DateTimeField(null=True, blank=True, editable=False)
    discovery_error = models.CharField(max_length=256, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "MCP server"
        permissions = [("use_mcpserver", "Can use MCP server")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Check every field and how they fit together. Raises ValidationError with the contract's codes."""
        validation.check(self)

    @property
    def endpoint_url(self) -> str:
        """Return the address that MCP clients use."""
        return f"{settings.AIGW_BASE_URL}/mcp/v1/{self.name}"

    @property
    def mode(self) -> str:
        """Return the auth mode."""
        return str(self.auth.get("mode", "none"))

    @property
    def required_scopes(self) -> list[str]:
        """Return the scopes that a `user_oauth` server needs."""
        return list(self.auth.get("required_scopes", []))


class MCPServerUserObjectPermission(UserObjectPermissionBase):
    """A user's right on one server."""

    content_object = models.ForeignKey(MCPServer, on_delete=models.CASCADE)


class MCPServerGroupObjectPermission(GroupObjectPermissionBase):
    """A group's right on one server."""

    content_object = models.ForeignKey(MCPServer, on_delete=models.CASCADE)


class McpSession(models.Model):
    """A session of MCP 2025-03-26 to 2025-11-25 that any replica can go on with. Our id is kept as a digest only.

    `upstream_id` is null until the session is open at the upstream, and seals "" where the upstream keeps none.
    """

    digest = models.CharField(max_length=64, unique=True)
    user_id = models.BigIntegerField(db_index=True)
    server_uid = models.UUIDField(db_index=True)
    initialize_params = models.JSONField(default=dict)
    protocol_version = models.CharField(max_length=20, blank=True)
    upstream_id = SealedTextField(null=True, editable=False)
    upstream_protocol_version = models.CharField(max_length=20, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(db_index=True)

    objects = SealedQuerySet["McpSession"].as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"session of user {self.user_id}"

    def sealed_owner(self) -> str:
        """Bind the upstream's id to this session."""
        return self.digest
