"""Pages of a list: `?page=` and `?page_size=` (at most 500)."""

from rest_framework.pagination import PageNumberPagination


class Pages(PageNumberPagination):
    """Fifty rows a page unless asked otherwise."""

    page_size_query_param = "page_size"
    max_page_size = 500
