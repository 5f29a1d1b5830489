"""The settings of the gateway under test: keys and files of its own, loopback allowed where the far side stands.

`TEST_DATABASE_URL` and `TEST_REDIS_URL` run the same tests on PostgreSQL and Redis.
"""

import os
import tempfile
from urllib.parse import urlsplit

_folder = tempfile.TemporaryDirectory(prefix="aigateway-tests-")
os.environ["AIGW_DATA_DIR"] = _folder.name
os.environ["SECRET_KEY"] = "tests-only-signing-key-tests-only-signing-key-tests-only"
os.environ["FERNET_KEYS"] = "tests-only-newest-key-tests-only-newest-key,tests-only-older-key-tests-only-older-key"
os.environ["AIGW_BASE_URL"] = "https://gateway.test"
os.environ["AIGW_OUTBOUND_ALLOW"] = "127.0.0.0/8,[::1]/128"
for _name in ("DATABASE_URL", "REDIS_URL"):
    os.environ.pop(_name, None)
    if _value := os.environ.get(f"TEST_{_name}"):
        os.environ[_name] = _value

# Test processes that run side by side (pytest-xdist) share no Redis database; pytest-django parts the others.
if (_worker := os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")) and "REDIS_URL" in os.environ:
    _redis = urlsplit(os.environ["REDIS_URL"])
    _database = int(_redis.path.strip("/") or 0) + 1 + int(_worker)
    os.environ["REDIS_URL"] = os.environ["TEST_REDIS_URL"] = _redis._replace(path=f"/{_database}").geturl()

from aigateway.settings import *  # noqa: E402, F403

if EMBEDDED:  # noqa: F405
    # A file, not memory: threads and processes of a test share it under SQLite's real locking.
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(_folder.name, "tests.sqlite3")}  # noqa: F405

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # speed; the real one is Django's business
