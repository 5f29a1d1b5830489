from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from audit.models import Event
from clients import tokens
from clients.models import ApiToken


def create_token(*args: str) -> tuple[str, str]:
    """Run the command; return what it wrote to standard output and error."""
    out, err = StringIO(), StringIO()
    call_command("create_token", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("nobody",), "There is no user 'nobody'"),
        (("alice", "--expires-days", "0"), "--expires-days takes 1 to"),
        (("alice", "--expires-days=-3"), "--expires-days takes 1 to"),
        (("alice", "--expires-days", "99999999"), "--expires-days takes 1 to"),
        (("alice", "--expires-days", "soon"), "--expires-days"),
        (("alice", "--name", ""), "--name takes 1 to 100"),
        (("alice", "--name", "x" * 101), "--name takes 1 to 100"),
    ],
)
def test_a_wrong_argument_is_named_and_makes_no_token(alice: User, args: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        create_token(*args)
    assert not ApiToken.objects.exists()


def test_an_inactive_user_gets_no_token(alice: User) -> None:
    User.objects.update(is_active=False)
    with pytest.raises(CommandError, match="is not active"):
        create_token("alice")


def test_the_token_stands_alone_on_the_last_line(alice: User) -> None:
    out, err = create_token("alice", "--name", "laptop")
    token = out.splitlines()[-1]
    row = tokens.recognise(token)
    assert row is not None
    assert (row.user, row.name, row.expires_at) == (alice, "laptop", None)
    assert token not in err


@pytest.mark.threat("F04", "H05")
def test_the_token_is_kept_as_a_digest_and_audited(alice: User) -> None:
    token = create_token("alice")[0].strip()
    row = ApiToken.objects.get()
    assert token not in str(vars(row))
    event = Event.objects.get(action="api_token.created")
    assert token not in str(vars(event))


def test_a_token_ends_when_it_was_told_to(alice: User) -> None:
    create_token("alice", "--expires-days", "30")
    expires_at = ApiToken.objects.get().expires_at
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
