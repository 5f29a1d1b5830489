"""One error shape for the whole API: `{"type": …, "errors": [{"code", "detail", "attr"}]}` (contract §4).

What the verbs below raise (ValidationError with codes, PermissionRefused) becomes that shape here, so that a
view never catches it.
"""

from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ObjectDoesNotExist, RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from drf_standardized_errors import formatter, handler
from drf_standardized_errors.types import Error
from rest_framework import exceptions
from rest_framework.exceptions import ErrorDetail
from rest_framework.fields import get_error_detail
from rest_framework.response import Response
from rest_framework.settings import api_settings

from clients.api.authentication import WHERE_TO_GET_ONE
from clients.rights import PermissionRefused


class NotAnswered(exceptions.APIException):
    """Something that we called on the caller's behalf refused (4xx) or did not answer as it should (502)."""

    def __init__(self, detail: str, code: str, *, status: int = 502) -> None:
        super().__init__(detail, code)
        self.status_code = status if 400 <= status < 500 else 502


class BodyTooLarge(exceptions.APIException):
    """The body is larger than `DATA_UPLOAD_MAX_MEMORY_SIZE`."""

    status_code = 413
    default_detail = "The body is larger than this API takes."
    default_code = "too_large"


class ExceptionHandler(handler.ExceptionHandler):
    """Knows the errors of the verbs."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        """Turn an error of ours or of Django into the API's."""
        if isinstance(exc, DjangoValidationError):
            return exceptions.ValidationError(_by_field(exc))
        if isinstance(exc, PermissionRefused):
            return exceptions.PermissionDenied(exc.detail, exc.code)
        if isinstance(exc, ObjectDoesNotExist):
            return exceptions.NotFound()
        if isinstance(exc, RequestDataTooBig):
            return BodyTooLarge()
        if isinstance(exc, RecursionError):
            return exceptions.ParseError("The JSON is nested too deeply.")
        if isinstance(exc, exceptions.NotAuthenticated):
            exc.detail = ErrorDetail(f"You are not signed in. {WHERE_TO_GET_ONE}", "not_authenticated")
        converted: Exception = super().convert_known_exceptions(exc)
        return converted

    def report_exception(self, exc: exceptions.APIException, response: Response) -> None:
        """Log what is our own fault only."""
        if not isinstance(exc, NotAnswered):
            super().report_exception(exc, response)


class ExceptionFormatter(formatter.ExceptionFormatter):
    """Names the field that asked for a permission."""

    def get_errors(self) -> list[Error]:
        """Return the errors, flat."""
        errors: list[Error] = super().get_errors()
        if isinstance(self.original_exc, PermissionRefused):
            errors[0].attr = self.original_exc.attr
        return errors


def _by_field(exc: DjangoValidationError) -> Any:
    found = get_error_detail(exc)
    if isinstance(found, dict) and NON_FIELD_ERRORS in found:
        found[api_settings.NON_FIELD_ERRORS_KEY] = found.pop(NON_FIELD_ERRORS)
    return found
