"""One of the processes of a race: `python -m tests.connections.race_process DATABASE_NAME USER_ID PROVIDER_UID`.

Threads of it wait for a line on standard input, ask for the same token at once, and print what each got.
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

THREADS = 32


def main(database_name: str, user_id: str, provider_uid: str) -> None:
    """Run the threads of this process."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = database_name
    django.setup()
    from django.db import connection

    from connections.tokens import usable_token

    start = threading.Barrier(THREADS + 1)

    def ask(_: int) -> str:
        start.wait()
        try:
            return usable_token(user_id=int(user_id), provider_uid=UUID(provider_uid), scopes=["read"]).access_token
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
