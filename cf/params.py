"""The sections of params.yaml as typed, strict objects."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from cf.errors import InputError

Seed = Annotated[int, Field(ge=0, lt=2**32)]
RatingRange = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


class Section(BaseModel):
    """A part of params.yaml: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Columns(Section):
    """The names that the columns have in the user's own file; no timestamp: null."""

    user_id: str
    item_id: str
    rating: str
    timestamp: str | None


class Ingest(Section):
    """Which ratings to use, and what to do when they cannot be reached."""

    dataset: str
    fallback: Literal["ml-100k"] | None
    columns: Columns
    rating_range: RatingRange

    @model_validator(mode="after")
    def _range_is_ordered(self) -> "Ingest":
        if not self.rating_range[0] < self.rating_range[1]:
            raise ValueError(f"rating_range must be [lowest, highest], got {self.rating_range}")
        return self


class Split(Section):
    """Which rows are held out."""

    fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed


class Optimizer(Section):
    """How gradients change the parameters; decay is L2, added to the gradient."""

    name: Literal["sgd", "adam"]
    weight_decay: NonNegativeFloat
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), strict=False
    )

    @model_validator(mode="after")
    def _only_its_own_fields(self) -> "Optimizer":
        foreign = {"sgd": "betas", "adam": "momentum"}[self.name]
        if foreign in self.model_fields_set:
            raise ValueError(f"{foreign} means nothing to {self.name}: remove it")
        return self


class Schedule(Section):
    """Phases of training, each with its own learning rate."""

    n_epochs: Annotated[list[PositiveInt], Field(min_length=1)]
    learning_rate: PositiveFloat | Annotated[list[PositiveFloat], Field(min_length=1)]
    anneal: Literal["none", "cosine"]
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _one_rate_a_phase(self) -> "Schedule":
        if isinstance(self.learning_rate, list) and len(self.learning_rate) != len(self.n_epochs):
            raise ValueError(
                f"learning_rate has {len(self.learning_rate)} values for "
                f"{len(self.n_epochs)} phases of n_epochs: give one number, or one a phase"
            )
        return self

    @property
    def phases(self) -> list[tuple[int, float]]:
        """(number of epochs, learning rate) of each phase."""
        rates = self.learning_rate
        if not isinstance(rates, list):
            rates = [rates] * len(self.n_epochs)
        return list(zip(self.n_epochs, rates, strict=True))


class Training(Section):
    """How a model is trained; `model` holds its name and what its own Config takes."""

    model: dict[str, Any]
    seed: Seed
    device: str
    n_threads: PositiveInt
    batch_size: PositiveInt
    optimizer: Optimizer
    schedule: Schedule


class Evaluate(Section):
    """The baselines to compare with."""

    damping: NonNegativeFloat


class Tracking(Section):
    """Where executions are recorded."""

    enabled: bool
    experiment: Annotated[str, Field(min_length=1)]


S = TypeVar("S", bound=Section)


def load(path: Path, section: str, kind: type[S]) -> S:
    """The section of the params file at `path`, checked against `kind`.

    Raises:
        InputError: no such file, not YAML, no such section, an unknown key, a value of the
            wrong type or out of bounds; the message names the key.
    """
    sections = _sections(path)
    if section not in sections:
        close = difflib.get_close_matches(section, sections, n=1)
        hint = f" Is it the one called {close[0]}?" if close else ""
        needed = ", ".join(kind.model_fields)
        raise InputError(f"{path}: {section}: this section is missing. It needs {needed}.{hint}")
    return parse(sections[section], f"{path}: {section}", kind)


def parse(values: Any, where: str, kind: type[S]) -> S:
    """`values` as a `kind`; `where` begins every message.

    Raises:
        InputError: as for `load`.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(
            "\n".join(_explain(detail, where, kind) for detail in error.errors())
        ) from None


def _sections(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file. Run from the root of the project, or restore it with "
            f"`git checkout {path}`."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected named sections, got {type(content).__name__}.")
    return content


def _explain(detail: ErrorDetails, where: str, kind: type[BaseModel]) -> str:
    keys = [str(key) for key in detail["loc"]]
    place = ".".join([where, *keys])
    got = detail["input"]
    if detail["type"] == "extra_forbidden":
        known = list(_kind_at(kind, keys[:-1]).model_fields)
        close = difflib.get_close_matches(keys[-1], known, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(known)}."
        return f"{place}: unknown key. {hint}"
    if detail["type"] == "missing":
        return f"{place}: this key is missing. Add it, or restore it from git."
    if detail["type"] == "model_type":
        needed = ", ".join(_kind_at(kind, keys).model_fields)
        return f"{place}: expected the keys {needed}, got {got!r}."
    if detail["type"] == "value_error":
        return f"{place}: {detail['ctx']['error']}."
    message = f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}, got {got!r}"
    if isinstance(got, str) and _is_number(got):
        message += f". YAML reads {got} as text: write {float(got)!r}"
    return f"{message}."


def _kind_at(kind: type[BaseModel], keys: list[str]) -> type[BaseModel]:
    for key in keys:
        inner = kind.model_fields[key].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return kind
        kind = inner
    return kind


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
