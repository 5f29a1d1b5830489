"""ServerCall: one request to an MCP server, without anything that was said in it."""

from typing import ClassVar

from django.db import models

from mcpservers.activity.finished import METHOD_LENGTH, TOOL_LENGTH


class ServerCall(models.Model):
    """A request of a known caller. It has no foreign keys: it outlives user and server until its days are over.

    `outcome` is one of `outcomes.Outcome`; `tool` is what a tools/call or prompts/get named; `milliseconds` is the
    whole, `upstream_milliseconds` of it the wait for the MCP server.
    """

    at = models.DateTimeField()
    server_uid = models.UUIDField()
    user_id = models.BigIntegerField()
    request_id = models.CharField(max_length=32)
    method = models.CharField(max_length=METHOD_LENGTH)
    tool = models.CharField(max_length=TOOL_LENGTH)
    outcome = models.CharField(max_length=16)
    status = models.PositiveSmallIntegerField()
    milliseconds = models.FloatField()
    upstream_milliseconds = models.FloatField()
    bytes_in = models.BigIntegerField()
    bytes_out = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["server_uid", "at"], name="calls_of_server"),
            models.Index(fields=["server_uid", "user_id", "at"], name="calls_of_user"),
        ]

    def __str__(self) -> str:
        return f"call {self.request_id}"
