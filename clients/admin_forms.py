"""Admin forms that save through a verb, and the fields that they share."""

from typing import Any, ClassVar

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms.models import construct_instance
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from clients.rights import PermissionRefused


class AuthoredForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form whose last check is the save itself.

    The verb that saves validates the object as a whole and asks for the actor's rights; whatever it
    refuses is shown beside its field and nothing is saved. The admin's own save then has nothing left to do.
    `homes` says beside which field a finding is shown whose own the form does not have, by that field or its code.
    """

    actor: User
    homes: ClassVar[dict[str, str]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_new = self.instance.pk is None

    def fill(self, instance: Any) -> None:
        """Set what the form's fields do not set by themselves."""

    def check(self, instance: Any) -> None:
        """Find what else is wrong when a field is, so that everything is said at once. Raises ValidationError."""
        instance.full_clean()

    def author(self, instance: Any) -> None:
        """Save through the verb. Raises ValidationError or PermissionRefused."""
        raise NotImplementedError

    def _post_clean(self) -> None:
        self.instance = construct_instance(self, self.instance, self._meta.fields, self._meta.exclude)
        try:
            self.fill(self.instance)
            if self.errors:
                self.check(self.instance)
            else:
                self.author(self.instance)
        except ValidationError as refused:
            self._show(refused)
        except PermissionRefused as refused:
            self._show(
                ValidationError({refused.attr or NON_FIELD_ERRORS: ValidationError(refused.detail, refused.code)})
            )

    def _show(self, refused: ValidationError) -> None:
        by_field = refused.error_dict if hasattr(refused, "error_dict") else {NON_FIELD_ERRORS: refused.error_list}
        said = set(self.errors)
        for field, findings in by_field.items():
            for finding in findings:
                home = self._home(field, finding.code or "")
                if home not in said:
                    self.add_error(home, finding)

    def _home(self, field: str, code: str) -> str | None:
        return next(
            (name for name in (field, self.homes.get(field), self.homes.get(code)) if name in self.fields), None
        )


class LinesField(forms.CharField):
    """A list of strings without spaces, one on a line."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        super().__init__(widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false"}), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Read lines, or words, as a list."""
        return (super().to_python(value) or "").split()

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the lists."""
        return bool((initial or []) != self.to_python(data))


class ParametersField(LinesField):
    """An object of strings, `name=value` on each line."""

    def prepare_value(self, value: Any) -> Any:
        """Show an object as lines."""
        return "\n".join(f"{name}={item}" for name, item in value.items()) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        """Read lines as an object. Raises ValidationError for a line without `=`."""
        lines = [line.strip() for line in (value or "").splitlines() if line.strip()]
        for line in lines:
            if "=" not in line:
                raise ValidationError(
                    f"{line[:80]!r} is no parameter. Write name=value, one on a line.", code="invalid"
                )
        return {name.strip(): text.strip() for name, _, text in (line.partition("=") for line in lines)}

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the objects; what cannot be read has changed."""
        try:
            return bool((initial or {}) != self.to_python(data))
        except ValidationError:
            return True


class PickField(forms.CharField):
    """A name picked from a list that the form offers; the verb, not the list, decides whether it is right."""

    widget: forms.Select

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        super().__init__(widget=UnfoldAdminSelectWidget(), **kwargs)

    def offer(self, names: list[tuple[str, str]], *, current: str, empty: str) -> None:
        """Offer these `(name, label)`, nothing (called `empty`), and what is set now, even if it is gone."""
        choices = [("", empty), *names]
        if current and current not in dict(names):
            choices.append((current, current))
        self.widget.choices = choices
