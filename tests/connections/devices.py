"""A provider on loopback that hands out device codes, and the steps of connecting with one."""

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from connections import device, tasks
from connections.models import DeviceRequest
from providers.models import OAuthProvider
from tests import factories
from tests.fakes.token_endpoint import TokenEndpoint

DEVICE_CODE = "canary-device-code"
USER_CODE = "WDJB-MJHT"


def hand_out(far_side: TokenEndpoint, **fields: Any) -> None:
    """Answer every request for a code; None leaves a field out."""
    usual = {
        "device_code": DEVICE_CODE,
        "user_code": USER_CODE,
        "verification_uri": far_side.url("/enter"),
        "verification_uri_complete": far_side.url(f"/enter?user_code={USER_CODE}"),
        "expires_in": 900,
        "interval": 5,
    }
    answer = {name: value for name, value in {**usual, **fields}.items() if value is not None}
    far_side.will(path="/device", times=None, fields=answer)


def say(far_side: TokenEndpoint, error: str, *, status: int = 400) -> None:
    """Answer the next poll with an error."""
    far_side.will(status=status, fields={"error": error})


def make_provider(far_side: TokenEndpoint, **fields: Any) -> OAuthProvider:
    """Make a provider that can be connected with a code."""
    return factories.make_provider(
        **{**far_side.endpoints, "device_authorization_endpoint": far_side.url("/device"), **fields}
    )


def start(user: User, provider: OAuthProvider) -> DeviceRequest:
    """Get a code."""
    return device.start(user, provider.uid, ["read"])


def wait_and_poll() -> None:
    """Let the interval pass, then run the task."""
    DeviceRequest.objects.update(next_poll_at=timezone.now() - timedelta(seconds=1))
    tasks.poll_devices.apply().get()
