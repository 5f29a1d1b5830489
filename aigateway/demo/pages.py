"""Reading a page the way a person would: its forms, buttons, links and words."""

from collections.abc import Callable
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
    """A form with the values that it would send as it stands."""

    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict, repr=False)
    buttons: list[Button] = field(default_factory=list)
    username_field: str = ""
    password_field: str = ""


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
            self._form = Form(values.get("action", ""), values.get("method", "get").upper())
            self.forms.append(self._form)
        elif tag == "a" and values.get("href"):
            self._link = Link(values["href"])
            self.links.append(self._link)
        elif tag == "button" and self._form and values.get("type", "submit").lower() == "submit":
            self._button = Button(name=values.get("name", ""), value=values.get("value", ""))
            self._form.buttons.append(self._button)
        elif tag == "input" and self._form:
            _read_input(self._form, values)

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

    def handle_data(self, data: str) -> None:
        """Take in words (HTMLParser hook)."""
        if "title" in self._inside:
            self.title += data.strip()
        elif not self._inside:
            self._words.append(data)
            for labelled in (self._button, self._link):
                if labelled is not None:
                    labelled.label = " ".join(f"{labelled.label} {data}".split())


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
