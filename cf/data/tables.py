"""Arrays and facts to files between stages, and back."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cf.errors import InputError
from cf.files import written
from cf.ratings import Ratings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Provenance:
    """Where the ratings came from, and their size.

    Attributes:
        dataset: its true name.
        requested: what params.yaml asked for; differs from `dataset` after a fallback.
        source: how it was reached.
        sha256: of the file it was read from.
        rating_range: lowest and highest rating that the data set allows, in stars.
    """

    dataset: str
    requested: str
    source: str
    sha256: str
    n_ratings: int
    n_users: int
    n_items: int
    rating_range: tuple[float, float]


@dataclass(frozen=True)
class SplitFacts:
    """How the rows were divided.

    Attributes:
        fraction: as in params.yaml, whether the method uses it or not; likewise `seed`.
        n_cold: validation rows whose user or item never occurs in the training rows.
        sha256: of the validation rows' numbers (int64, little endian), and where there is a test
            part, of the word test and its rows' numbers after that.
        method: of params.yaml.
        settings: the values of params.yaml that the method uses.
        parts: of each part, train, valid and perhaps test, what `cf.data.parts` counts.
    """

    fraction: float
    seed: int
    n_train: int
    n_valid: int
    n_cold: int
    sha256: str
    method: str = "random"
    settings: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def n_leaked(self) -> int:
        """Held-out rows whose user rates the same item in train."""
        return sum(counts.get("n_leaked", 0) for counts in self.parts.values())


F = TypeVar("F")


def write_columns(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    """Write arrays of one length as a Parquet file."""
    with written(path) as beside:
        pq.write_table(pa.table(columns), beside)


def read_columns(path: Path, *needed: str) -> dict[str, NDArray[Any]]:
    """The columns of a Parquet file as arrays, at least those `needed`.

    Raises:
        InputError: no such file, not Parquet, or a column is missing.
    """
    try:
        table = pq.read_table(path)
        if missing := set(needed) - set(table.column_names):
            raise pa.ArrowInvalid(f"no column {', '.join(sorted(missing))}")
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from None
    return {name: table[name].to_numpy() for name in table.column_names}


def write_ratings(path: Path, ratings: Ratings) -> None:
    """Write ratings as a Parquet file, a column an array."""
    columns = {name: array for name, array in vars(ratings).items() if array is not None}
    write_columns(path, columns)


def read_ratings(path: Path) -> Ratings:
    """The ratings that `write_ratings` wrote.

    Raises:
        InputError: no such file, or not Parquet.
    """
    columns = read_columns(path, "users", "items", "values", "rows")
    return Ratings(
        users=columns["users"],
        items=columns["items"],
        values=columns["values"],
        timestamps=columns.get("timestamps"),
        rows=columns["rows"],
    )


def write_json(path: Path, content: Any) -> None:
    """Write JSON that reads well in a diff: indented, one line at the end."""
    with written(path) as beside:
        beside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: no such file, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def write_facts(path: Path, facts: "DataclassInstance") -> None:
    """Write a dataclass as JSON."""
    write_json(path, asdict(facts))


def read_facts(path: Path, kind: type[F]) -> F:
    """The `kind` that `write_facts` wrote.

    Raises:
        InputError: no such file, not JSON, or something else.
    """
    try:
        return kind(**read_json(path))
    except TypeError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: cannot be read ({error}). `dvc repro` makes it; if it is damaged, delete it "
        "first."
    )
