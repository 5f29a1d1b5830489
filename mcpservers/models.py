"""MCPServer: where tools live, how to authenticate there, and what was last seen of it."""

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from mcpservers import validation
from mcpservers.activity.models import ServerCall as ServerCall
from vault.fields import SealedTextField
from vault.names import valid_name
from vault.rows import SealedModel, SealedQuerySet


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


class OnChange(models.TextChoices):
    """What happens to a tool that is no longer as it was approved."""

    WARN = "warn", "Warn"
    HOLD = "hold", "Hold for review"


class ToolPolicy(models.Model):
    """Which of a server's tools may be used, and which were approved as what. No row is no restriction.

    `approved` maps names to definitions, null before the first discovery. `discovery_user` is whose connection
    discovery uses; `asked_as` whose it used last. `due_at` is when the server is asked again by itself.
    """

    server = models.OneToOneField(MCPServer, on_delete=models.CASCADE, related_name="tool_policy")
    on_change = models.CharField(max_length=8, choices=OnChange.choices, default=OnChange.WARN)
    allow = models.JSONField(default=list, blank=True)
    deny = models.JSONField(default=list, blank=True)
    approved = models.JSONField(null=True, editable=False)
    discovery_user = models.ForeignKey("auth.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    asked_as = models.BigIntegerField(null=True, editable=False)
    due_at = models.DateTimeField(null=True, editable=False, db_index=True)
    failures = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"tool policy of {self.server_id}"


class GroupToolPolicy(models.Model):
    """What the members of a group may use of a server's tools, within what the server allows everyone."""

    server = models.ForeignKey(MCPServer, on_delete=models.CASCADE, related_name="group_tool_policies")
    group = models.ForeignKey("auth.Group", on_delete=models.CASCADE, related_name="+")
    allow = models.JSONField(default=list, blank=True)
    deny = models.JSONField(default=list, blank=True)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [models.UniqueConstraint(fields=["server", "group"], name="one_tool_policy_per_group")]

    def __str__(self) -> str:
        return f"tool policy of {self.server_id} for group {self.group_id}"


class MCPServerUserObjectPermission(UserObjectPermissionBase):
    """A user's right on one server."""

    content_object = models.ForeignKey(MCPServer, on_delete=models.CASCADE)


class MCPServerGroupObjectPermission(GroupObjectPermissionBase):
    """A group's right on one server."""

    content_object = models.ForeignKey(MCPServer, on_delete=models.CASCADE)


class McpSession(SealedModel):
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
        indexes: ClassVar = [models.Index(fields=["key_ids", "id"], name="sessions_by_key")]

    def __str__(self) -> str:
        return f"session of user {self.user_id}"

    def sealed_owner(self) -> str:
        """Bind the upstream's id to this session."""
        return self.digest
