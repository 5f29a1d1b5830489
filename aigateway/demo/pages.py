"""Reading a page the way a person would: its forms, buttons, links and words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TypeVar

T = TypeVar("T")

UNSEEN = ("head", "script", "style", "template")


@dataclass
class Button:
    """A submit button; `label` is what a person reads on it."""

    label: str = ""
    name: str = ""
    value: str = ""


@dataclass
class Form:
    """A form with the values that it would send as it stands; `choices`: what can be ticked, by field and label."""

    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict, repr=False)
    choices: dict[str, dict[str, str]] = field(default_factory=dict)
    id: str = ""
    buttons: list[Button] = field(default_factory=list)
    username_field: str = ""
    password_field: str = ""

    def filled(self, typed: Mapping[str, str]) -> dict[str, str]:
        """Return the values with what a person typed, or ticked by its label."""
        chosen = {name: self.choices.get(name, {}).get(value, value) for name, value in typed.items()}
        return {**self.values, **chosen}


@dataclass
class Option:
    """A box to tick, in its label."""

    field: str
    value: str
    label: str = ""


@dataclass
class Link:
    """A link and what a person reads on it."""

    href: str
    label: str = ""


class Document(HTMLParser):
    """The forms, links and words of one HTML page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.title = ""
        self.forms: list[Form] = []
        self.links: list[Link] = []
        self._words: list[str] = []
        self._form: Form | None = None
        self._button: Button | None = None
        self._link: Link | None = None
        self._is_in_label = False
        self._option: Option | None = None
        self._inside: list[str] = []
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        """The words on the page, runs of space made one."""
        return " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element (HTMLParser hook)."""
        values = {name: value or "" for name, value in attrs}
        if tag in (*UNSEEN, "title"):
            self._inside.append(tag)
        elif tag == "form":
            self._form = Form(values.get("action", ""), values.get("method", "get").upper(), id=values.get("id", ""))
            self.forms.append(self._form)
        elif tag == "a" and values.get("href"):
            self._link = Link(values["href"])
            self.links.append(self._link)
        elif tag == "button" and values.get("type", "submit").lower() == "submit":
            self._begin_button(values)
        elif tag == "input" and self._form:
            _read_input(self._form, values)
            if self._is_in_label and values.get("type") in ("checkbox", "radio"):
                self._option = Option(values.get("name", ""), values.get("value", "on"))
        elif tag == "label":
            self._is_in_label = True

    def handle_endtag(self, tag: str) -> None:
        """Close an element (HTMLParser hook)."""
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()
        elif tag == "form":
            self._form = None
        elif tag == "button":
            self._button = None
        elif tag == "a":
            self._link = None
        elif tag == "label":
            self._is_in_label = False
            self._end_option()

    def handle_data(self, data: str) -> None:
        """Take in words (HTMLParser hook)."""
        if "title" in self._inside:
            self.title += data.strip()
        elif not self._inside:
            self._words.append(data)
            for labelled in (self._button, self._link, self._option):
                if labelled is not None:
                    labelled.label = " ".join(f"{labelled.label} {data}".split())

    def _begin_button(self, attributes: dict[str, str]) -> None:
        # A button may stand anywhere on the page and name its form.
        named = attributes.get("form")
        form = next((form for form in self.forms if form.id == named), None) if named else self._form
        if form is not None:
            self._button = Button(name=attributes.get("name", ""), value=attributes.get("value", ""))
            form.buttons.append(self._button)

    def _end_option(self) -> None:
        option, self._option = self._option, None
        if option is not None and self._form is not None:
            self._form.choices.setdefault(option.field, {})[option.label] = option.value


def _read_input(form: Form, attributes: dict[str, str]) -> None:
    kind, name, value = attributes.get("type", "text").lower(), attributes.get("name", ""), attributes.get("value", "")
    if kind == "submit":
        form.buttons.append(Button(label=value, name=name, value=value))
    elif not name or kind in ("button", "reset", "image", "file"):
        return
    elif kind not in ("checkbox", "radio"):
        form.values[name] = value
    elif "checked" in attributes:
        form.values[name] = value or "on"
    if kind == "password" and not form.password_field:
        form.password_field = name
    elif kind in ("text", "email") and not form.password_field:
        form.username_field = name


def find_by_label(things: list[T], label: str, label_of: Callable[[T], str]) -> list[T]:
    """Find the things that read exactly `label`, or else those whose words begin with it, case aside."""
    wanted = label.casefold()
    exact = [thing for thing in things if label_of(thing).casefold() == wanted]
    return exact or [thing for thing in things if label_of(thing).casefold().startswith(wanted)]
