"""Small charts of the last day: what the history holds, as stacked columns with their geometry. No colours here."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

COLUMNS = 48
COLUMN_SECONDS = 1800
WIDTH, HEIGHT, GAP = 480, 96, 2
Slices = Sequence[tuple[datetime, str, str, float]]


@dataclass(frozen=True, slots=True)
class Part:
    """A layer of the columns: its word, its `kind` (`accent`, `ok`, `warn`, `bad`), and which numbers it adds up."""

    word: str
    kind: str
    name: str
    labels: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of the drawing."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing, what it says in words, and the same as a table; `most` is the height of its tallest column."""

    title: str
    unit: str
    bars: list[Bar]
    legend: list[tuple[str, str, float]]
    rows: list[tuple[datetime, list[float]]]
    most: float

    @property
    def words(self) -> str:
        """Return the chart in a sentence, for those who cannot see it."""
        parts = ", ".join(f"{value:g} {word.lower()}" for word, _, value in self.legend)
        return f"{self.title} in the last 24 hours: {parts}; at most {self.most:g} {self.unit} in half an hour."


def begins(now: datetime) -> datetime:
    """Return the start of the first column."""
    last = datetime.fromtimestamp(now.timestamp() // COLUMN_SECONDS * COLUMN_SECONDS, tz=now.tzinfo)
    return last - timedelta(seconds=(COLUMNS - 1) * COLUMN_SECONDS)


def draw(
    title: str, unit: str, parts: Sequence[Part], slices: Slices, now: datetime, *, is_height: bool = False
) -> Chart:
    """Draw what was counted, or with `is_height` how high something rose, one column for each half hour."""
    start = begins(now)
    columns = {part.word: _columns(part, slices, start, is_height) for part in parts}
    totals = [sum(column[number] for column in columns.values()) for number in range(COLUMNS)]
    most = max(totals)
    whole = {part.word: (max if is_height else sum)(columns[part.word]) for part in parts}
    rows = [
        (start + timedelta(seconds=number * COLUMN_SECONDS), [columns[part.word][number] for part in parts])
        for number in reversed(range(COLUMNS))
        if totals[number]
    ]
    legend = [(part.word, part.kind, whole[part.word]) for part in parts]
    return Chart(title, unit, list(_bars(parts, columns, most)), legend, rows, most)


def _columns(part: Part, slices: Slices, start: datetime, is_height: bool) -> list[float]:
    found: dict[int, float] = defaultdict(float)
    for at, name, label, value in slices:
        if name == part.name and (part.labels is None or label in part.labels):
            number = int((at - start).total_seconds() // COLUMN_SECONDS)
            found[number] = max(found[number], value) if is_height else found[number] + value
    return [found.get(number, 0.0) for number in range(COLUMNS)]


def _bars(parts: Sequence[Part], columns: dict[str, list[float]], most: float) -> Iterable[Bar]:
    width = WIDTH / COLUMNS
    for number in range(COLUMNS):
        y = float(HEIGHT)
        for part in parts:
            value = columns[part.word][number]
            if value:
                height = max(value / most * HEIGHT, 1.5)
                y = max(y - height, 0.0)
                yield Bar(round(number * width, 1), round(y, 1), width - GAP, round(height, 1), part.kind)
