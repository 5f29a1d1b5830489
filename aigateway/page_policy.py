"""The content security policy of each page: strict everywhere, wider under `/admin/` (dependencies.md, "Admin theme").

The theme of the admin evaluates expressions in attributes and carries inline script and style; nothing of ours does.
"""

from typing import Any

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

ADMIN = "/admin/"


class PagePolicyMiddleware(CSPMiddleware):
    """django-csp, with one exception of ours by path."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Return the policy of this answer."""
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(ADMIN) and not report_only:
            parts.config = _admin_policy()
        return parts


def _admin_policy() -> dict[str, Any]:
    strict = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    return {
        **strict,
        "script-src": [SELF, UNSAFE_INLINE, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
    }
