"""A process of a race for one service account's token: `python -m tests.connections.service_race DATABASE SERVER_UID`.

Its threads wait for a line on standard input, ask at once, and print what each got.
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

THREADS = 32


def main(database_name: str, server_uid: str) -> None:
    """Run the threads of this process."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = database_name
    django.setup()
    from django.db import connection

    from connections.service_tokens import usable_token

    start = threading.Barrier(THREADS + 1)

    def ask(_: int) -> str:
        start.wait()
        try:
            return usable_token(UUID(server_uid)).access_token
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(ask, range(THREADS))
        print("ready", flush=True)
        sys.stdin.readline()
        start.wait()
        for answer in answers:
            print(answer, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
