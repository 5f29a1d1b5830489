"""Pages of a list: `?page=` and `?page_size=` (at most 500)."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.pagination import PageNumberPagination
from rest_framework.request import Request


class Pages(PageNumberPagination):
    """Fifty rows a page unless asked otherwise."""

    page_size_query_param = "page_size"
    max_page_size = 500

    def get_page_size(self, request: Request) -> int | None:
        """Return the size asked for. Raises ValidationError for anything but 1 to 500."""
        asked: Any = request.query_params.get("page_size")
        if asked is not None and not (
            asked.isascii() and asked.isdigit() and 1 <= int(asked[:9]) <= self.max_page_size
        ):
            raise ValidationError(
                {"page_size": ErrorDetail(f"Give a number from 1 to {self.max_page_size}.", "invalid")}
            )
        return super().get_page_size(request)

    def get_next_link(self) -> str | None:
        """Return the address of the next page."""
        return _at_public_address(super().get_next_link())

    def get_previous_link(self) -> str | None:
        """Return the address of the page before."""
        return _at_public_address(super().get_previous_link())


def _at_public_address(link: str | None) -> str | None:
    """Return a link that DRF took from the request at our public address (contract §2)."""
    return link and settings.AIGW_BASE_URL + urlsplit(link)._replace(scheme="", netloc="").geturl()
