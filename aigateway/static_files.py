"""Static files straight from where they lie, ours and the admin's: no collect step, whatever `DEBUG` is.

A small ASGI application for `/static/`; it looks where Django's finders look and takes the whole path of the scope.
"""

import os
from collections.abc import Iterator

from django.conf import settings
from django.contrib.staticfiles.finders import AppDirectoriesFinder, FileSystemFinder
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

# Names carry no digest, so a browser asks again after a minute and is told "not modified" by the ETag.
CACHE_CONTROL = "public, max-age=60"


class FinderFiles(StaticFiles):
    """Serve the folders of the static files finders, by GET and HEAD only."""

    def __init__(self) -> None:
        # Links are followed: some installers link packages into the environment instead of copying them.
        super().__init__(check_dir=False, follow_symlink=True)
        self.all_directories = list(_folders())

    def get_path(self, scope: Scope) -> str:
        """Return the file's path below `/static/`."""
        below: str = scope["path"].removeprefix(settings.STATIC_URL)
        return os.path.normpath(os.path.join(*below.split("/")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the file, 304, 404 or 405."""
        try:
            response = await self.get_response(self.get_path(scope), scope)
        except HTTPException as refused:
            response = PlainTextResponse(f"{refused.detail}\n", refused.status_code, refused.headers)
        else:
            response.headers["Cache-Control"] = CACHE_CONTROL
        _harden(response)
        await response(scope, receive, send)


def _folders() -> Iterator[str]:
    for _, folder in FileSystemFinder().locations:
        yield str(folder)
    for storage in AppDirectoriesFinder().storages.values():
        yield str(storage.location)


def _harden(response: Response) -> None:
    """Keep a file from being taken for a page of ours with rights (F16)."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    )


application = FinderFiles()
