"""One of the processes of a race for one token: `python -m tests.connections.race_process DATABASE_NAME WHAT UID ...`.

WHAT is `connection` (a user's id and a provider's uid follow) or `service` (a server's uid). Threads of it wait for a
line on standard input, ask for the same token at once, and print what each got.
"""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

THREADS = 32


def main(database_name: str, what: str, *ids: str) -> None:
    """Run the threads of this process."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = database_name
    django.setup()
    from django.db import connection

    asked = {"connection": of_a_connection, "service": of_a_service_account}[what](*ids)
    start = threading.Barrier(THREADS + 1)

    def ask(_: int) -> str:
        start.wait()
        try:
            return asked()
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(ask, range(THREADS))
        print("ready", flush=True)
        sys.stdin.readline()
        start.wait()
        for answer in answers:
            print(answer, flush=True)


def of_a_connection(user_id: str, provider_uid: str) -> Callable[[], str]:
    from connections.tokens import usable_token

    return lambda: usable_token(user_id=int(user_id), provider_uid=UUID(provider_uid), scopes=["read"]).access_token


def of_a_service_account(server_uid: str) -> Callable[[], str]:
    from connections.service_tokens import usable_token

    return lambda: usable_token(UUID(server_uid)).access_token


if __name__ == "__main__":
    main(*sys.argv[1:])
