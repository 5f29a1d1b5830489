"""Run the authorization server: `python -m aigateway.demo.authserver [--host H] [--port P]`."""

import os

import django
from django.core.asgi import get_asgi_application
from django.core.management import call_command

from aigateway.demo import serving


def main() -> None:
    """Migrate, seed and serve until SIGTERM, on the data folder named by `DEMO_DATA_DIR`."""
    arguments = serving.read_arguments("aigateway.demo.authserver")
    # The database holds password hashes: for its owner alone, like the files beside it.
    os.umask(0o077)
    listener = serving.bind(arguments.host, arguments.port)
    issuer = serving.url_of(listener, "http")
    os.environ["DEMO_AS_ISSUER"] = issuer
    os.environ["DJANGO_SETTINGS_MODULE"] = "aigateway.demo.authserver.settings"
    django.setup()
    call_command("migrate", verbosity=0, interactive=False)
    _seed()
    serving.serve(get_asgi_application(), listener, ready_url=issuer)


def _seed() -> None:
    # Models, and settings that know the port, can be imported only now.
    from aigateway.demo.authserver.seed import seed
    from aigateway.demo.authserver.settings import REGISTRATION

    seed(REGISTRATION)


if __name__ == "__main__":
    main()
