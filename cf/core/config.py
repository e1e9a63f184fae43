"""The sections of params.yaml as typed, strict objects."""

import codecs
import difflib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from cf.core import config_errors
from cf.core.errors import InputError


def _ascending(bounds: list[float]) -> list[float]:
    if not bounds[0] < bounds[1]:
        raise ValueError(f"expected [low, high] with low below high, got {bounds}")
    return bounds


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"expected different seeds, got {seeds}")
    return seeds


Seed = Annotated[int, Field(ge=0, lt=2**32)]
Threads = Annotated[int, Field(gt=0, le=1024)]
Count = Annotated[int, Field(gt=0, le=10**9)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
MOST = 1e30  # of a number: 32-bit floats, which end at 3.4e38, have room for sums of such
Number = Annotated[float, Field(ge=-MOST, le=MOST)]
Positive = Annotated[float, Field(gt=0, le=MOST)]
NonNegative = Annotated[float, Field(ge=0, le=MOST)]
Range = Annotated[list[Number], Field(min_length=2, max_length=2), AfterValidator(_ascending)]


class BaseConfig(BaseModel):
    """A part of params.yaml, strict: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


AUTO = "auto"
"""Stands for a value that is recognized by the file's content."""


def _as_name(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else value


Name = Annotated[str, BeforeValidator(_as_name)]
"""Of a column; where a file has no names, its number from 1."""


class Columns(BaseConfig):
    """What the columns of the user's own file are called; null if there is none."""

    user_id: Name = AUTO
    item_id: Name = AUTO
    rating: Name | None = AUTO
    timestamp: Name | None = AUTO


def _known_encoding(name: str) -> str:
    try:
        return name if name == AUTO else codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"{name} is no encoding that Python knows") from None


class TextLayout(BaseConfig):
    """How the user's own text file is laid out."""

    encoding: Annotated[str, AfterValidator(_known_encoding)] = AUTO
    delimiter: Annotated[str, Field(min_length=1, pattern=r"^[^\r\n]+$")] = AUTO
    quote: Annotated[str, Field(pattern=r"^(auto|[!-/:-@\[-`{-~])$")] | None = AUTO
    escaped: bool | Literal["auto"] = "auto"
    header: bool | Literal["auto"] = "auto"
    decimal: Literal[".", ","] = "."
    thousands: Literal["auto", ".", ",", " ", "'"] | None = "auto"
    time_unit: str = AUTO


Fallback = Literal["ml-100k", "movietweetings-10k"]
"""A data set that is to be had without GroupLens: from PyPI, or with cf."""


Features = Literal["auto"] | list[str] | dict[str, Literal["number", "category"]]


class SideTable(BaseConfig):
    """The user's own table of items or users: a file, and which of its columns are features."""

    file: str
    features: Features = "auto"
    layout: TextLayout = TextLayout()


class ItemTable(SideTable):
    """The user's own table of items, and what its columns are called; null if there is none."""

    item_id: Name = AUTO
    title: Name | None = AUTO
    year: Name | None = AUTO
    genres: Name | None = AUTO
    separator: Annotated[str, Field(min_length=1)] = AUTO


class UserTable(SideTable):
    """The user's own table of users, and what the column of their ids is called."""

    user_id: Name = AUTO


def _as_table(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


class Ingest(BaseConfig):
    """Which ratings to use, and what to do when they cannot be reached."""

    dataset: str
    fallback: Fallback | list[Fallback] | None
    columns: Columns = Columns()
    layout: TextLayout = TextLayout()
    items: Annotated[ItemTable | None, BeforeValidator(_as_table)] = None
    users: Annotated[UserTable | None, BeforeValidator(_as_table)] = None
    rating_range: Range | Literal["auto"] = "auto"
    unit: Annotated[str, Field(min_length=1, max_length=20)] = AUTO
    feedback: Literal["auto", "explicit", "implicit"] = "auto"
    repeats: Literal["refuse", "last", "first", "mean"] = "refuse"
    missing: list[float] = []

    @property
    def fallbacks(self) -> list[Fallback]:
        """The data sets to fall back on, in the order in which to try them."""
        if self.fallback is None or isinstance(self.fallback, list):
            return self.fallback or []
        return [self.fallback]


class Split(BaseConfig):
    """Which rows are held out; keys that the method does not use are ignored."""

    method: Literal["random", "per_user", "time", "leave_last", "k_fold", "file"]
    fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed
    n_last: Count
    n_folds: Annotated[int, Field(ge=2, le=10**6)]
    fold: Annotated[int, Field(ge=0)]
    file: str | None
    test: bool

    @model_validator(mode="after")
    def _leaves_rows_for_train(self) -> "Split":
        used = self.used
        if self.test and used.get("fraction", 0) >= 0.5:
            both = f"{self.fraction:g} for valid and as much for test"
            raise ValueError(f"fraction: {both} leaves nothing to train on: choose less than 0.5")
        if self.test and used.get("n_folds", 3) < 3:
            raise ValueError("n_folds: 2 folds are valid and test: choose 3 or more to train on")
        if used.get("fold", 0) >= self.n_folds:
            folds = f"{self.n_folds} folds of n_folds, which are 0 to {self.n_folds - 1}"
            raise ValueError(f"fold: {self.fold} is none of the {folds}")
        if self.method == "file" and not self.file:
            raise ValueError("file: the method file needs the path of one")
        return self

    @property
    def used(self) -> dict[str, Any]:
        """The values that the method uses, and `test` if it is true."""
        keys = {
            "random": ("fraction", "seed"),
            "per_user": ("fraction", "seed"),
            "time": ("fraction",),
            "leave_last": ("n_last",),
            "k_fold": ("n_folds", "fold", "seed"),
            "file": ("file",),
        }[self.method]
        values = {key: getattr(self, key) for key in keys}
        return {**values, "test": True} if self.test else values


class Optimizer(BaseConfig):
    """Weight decay is L2, added to the gradient: as it is, or a total that all ratings share."""

    weight_decay: NonNegative | None = None
    total_weight_decay: NonNegative | None = None

    @model_validator(mode="after")
    def _has_one_decay(self) -> "Optimizer":
        if (self.weight_decay is None) == (self.total_weight_decay is None):
            raise ValueError("expected either weight_decay or total_weight_decay, and not both")
        return self

    def decay(self, n_ratings: int) -> float:
        """The weight decay of a step, where there are so many training ratings."""
        if self.total_weight_decay is None:
            return self.weight_decay or 0.0
        return self.total_weight_decay / max(1, n_ratings)


class SGD(Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    momentum: Fraction


class Adam(Optimizer):
    """Adam."""

    name: Literal["adam"]
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]


class RowwiseAdagrad(Optimizer):
    """Adagrad with one accumulator a row; the decay is that of the rows which a batch looks up."""

    name: Literal["rowwise_adagrad"]
    eps: Positive = 1e-8


class Schedule(BaseConfig):
    """Phases of training, each with its own learning rate."""

    n_epochs: Annotated[list[Count], Field(min_length=1)]
    learning_rate: Positive | Annotated[list[Positive], Field(min_length=1)]
    anneal: Literal["none", "cosine"]
    warm_up: Fraction = 0.0

    @model_validator(mode="after")
    def _one_rate_per_phase(self) -> "Schedule":
        if isinstance(self.learning_rate, list) and len(self.learning_rate) != len(self.n_epochs):
            given = f"{len(self.learning_rate)} values for {len(self.n_epochs)} phases of n_epochs"
            raise ValueError(f"learning_rate has {given}: give one number, or one per phase")
        return self

    @property
    def phases(self) -> list[tuple[int, float]]:
        """(number of epochs, learning rate) of each phase."""
        rates = self.learning_rate
        if not isinstance(rates, list):
            rates = [rates] * len(self.n_epochs)
        return list(zip(self.n_epochs, rates, strict=True))


class Training(BaseConfig):
    """How a model is trained; `model` holds its name and what its own Config takes."""

    model: dict[str, Any]
    seed: Seed
    device: str
    n_threads: Threads
    batch_size: Count
    min_steps: Count = 1
    optimizer: Annotated[SGD | Adam | RowwiseAdagrad, Field(discriminator="name")]
    schedule: Schedule

    def batch_size_for(self, n_ratings: int) -> int:
        """`batch_size`, or fewer where an epoch would have less than `min_steps` steps."""
        return max(1, min(self.batch_size, n_ratings // self.min_steps))


class Gibbs(BaseConfig):
    """How a posterior is sampled, and which side information the model has."""

    n_sweeps: Count
    burn_in: Annotated[int, Field(ge=0)]
    user_noise: bool
    time_scales: list[Annotated[float, Field(gt=0, le=1e10)]]  # longer ones are one for all time
    genres: bool
    year: bool
    popularity: bool
    item_implicit: bool
    user_implicit: bool
    item_features: bool = True
    tags: bool = True
    user_features: bool = True
    residual_neighbors: bool = True

    @model_validator(mode="after")
    def _leaves_sweeps(self) -> "Gibbs":
        if self.burn_in >= self.n_sweeps:
            raise ValueError(
                f"burn_in: {self.burn_in} of {self.n_sweeps} sweeps leaves none to average"
            )
        return self


class Sampling(BaseConfig):
    """How a posterior is sampled; `model` holds its name and what its own Config takes."""

    model: dict[str, Any]
    seed: Seed
    device: str = "auto"
    n_threads: Threads
    gibbs: Gibbs


class Evaluate(BaseConfig):
    """The subset to score, the bias baseline's damping, and the bootstrap of the intervals."""

    part: Literal["valid", "test"]
    damping: NonNegative
    n_resamples: Annotated[int, Field(ge=100, le=10**6)]
    seed: Seed


class Knn(BaseConfig):
    """The item-kNN baseline of ranking."""

    n_neighbors: Count
    shrinkage: NonNegative


class Ease(BaseConfig):
    """The EASE baseline of ranking."""

    l2: Annotated[float, Field(ge=0.001, le=MOST)]  # below, rounding decides the weights
    max_items: Annotated[int, Field(gt=0, le=50_000)]


class Rank(BaseConfig):
    """How lists of recommended items are scored, and the baselines of ranking."""

    k: Annotated[int, Field(gt=0, le=1000)]
    relevant: Number | Literal["auto"]
    knn: Knn
    ease: Ease


class Cv(BaseConfig):
    """A cross-validation: each fold is trained with each seed."""

    n_folds: Annotated[int, Field(ge=2, le=1000)]
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
    jobs: Annotated[int, Field(gt=0, le=1024)]


class Tracking(BaseConfig):
    """Whether and under which name runs are recorded in MLflow."""

    enabled: bool
    experiment: Annotated[str, Field(min_length=1)]


Workers = Annotated[int, Field(gt=0, le=64)]


RAY_PACKAGES = ("ray", "torchrec", "fbgemm_gpu")


class Ray(BaseConfig):
    """Where Ray runs a training, and with how many workers."""

    address: str | None
    workers: Workers | Annotated[list[Workers], Field(min_length=2, max_length=2)]
    storage: Annotated[str, Field(min_length=1)]
    max_failures: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _is_possible(self) -> "Ray":
        if "://" in self.storage:
            raise ValueError(f"storage: expected a folder, got {self.storage}")
        if self.address is not None and self.address.strip() in ("", "local"):
            raise ValueError(
                f"address: expected auto, an address such as 10.0.0.1:6379, or null for this "
                f"machine, got {self.address!r}"
            )
        if isinstance(self.workers, list) and not self.workers[0] < self.workers[1]:
            raise ValueError(f"workers: expected [fewest, most], got {self.workers}")
        return self

    @property
    def fewest_workers(self) -> int:
        """The fewest workers that a training may have."""
        return self.workers[0] if isinstance(self.workers, list) else self.workers

    @property
    def most_workers(self) -> int:
        """The most workers that a training may have."""
        return self.workers[1] if isinstance(self.workers, list) else self.workers


class SearchDomain(BaseConfig):
    """Where a value is searched: from low to high, or among given values."""

    type: Literal["int", "float", "choice"]
    low: float | None = None
    high: float | None = None
    log: bool = False
    values: list[Any] | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> "SearchDomain":
        foreign = {"low", "high", "log"} if self.type == "choice" else {"values"}
        if needless := sorted(foreign & self.model_fields_set):
            raise ValueError(f"{', '.join(needless)} means nothing to {self.type}: remove it")
        if self.type == "choice":
            self._check_values()
        else:
            self._check_bounds()
        return self

    def _check_values(self) -> None:
        if not self.values:
            raise ValueError("a choice needs values: one or more to choose from")
        for value in self.values:
            for part in value if isinstance(value, list) else [value]:
                if not isinstance(part, str | int | float | None):
                    raise ValueError(f"values are numbers, text or lists of these, got {value!r}")

    def _check_bounds(self) -> None:
        low, high = self.low, self.high
        if low is None or high is None:
            raise ValueError(f"{self.type} needs both low and high")
        if not low < high:
            raise ValueError(f"low must be below high, got {low:g} and {high:g}")
        if self.log and low <= 0:
            raise ValueError(f"log needs low above 0, got {low:g}")
        if self.type == "int" and not (low.is_integer() and high.is_integer()):
            raise ValueError(f"int needs whole numbers, got {low:g} and {high:g}")


class Tune(BaseConfig):
    """The search over values of one training section; `space` maps dotted keys to domains."""

    section: Annotated[str, Field(pattern="^train_.")]
    n_trials: Count
    seed: Seed
    holdout: Annotated[float, Field(gt=0, lt=1)]
    space: Annotated[dict[str, SearchDomain], Field(min_length=1)]


S = TypeVar("S", bound=BaseConfig)


def load(path: Path, section: str, schema: type[S]) -> S:
    """The section of the params file at `path`, checked against `schema`.

    Raises:
        InputError: no such file, not YAML, no such section, or as for `validate`.
    """
    found = sections(path)
    if section not in found:
        close = difflib.get_close_matches(section, found, n=1)
        hint = f" Is it the one called {close[0]}?" if close else ""
        needed = ", ".join(schema.model_fields)
        raise InputError(f"{path}: {section}: this section is missing. It needs {needed}.{hint}")
    return validate(found[section], f"{path}: {section}", schema)


def ray(path: Path) -> Ray | None:
    """The section ray of the params file at `path` where `launcher` is ray; None where it is local.

    Raises:
        InputError: the launcher is neither local nor ray, or as for `load`; or what Ray needs is
            not installed.
    """
    launcher = sections(path).get("launcher", "local")
    if launcher not in ("local", "ray"):
        raise InputError(f"{path}: launcher: expected local or ray, got {launcher!r}.")
    if launcher == "local":
        return None
    if missing := [name for name in RAY_PACKAGES if not importlib.util.find_spec(name)]:
        raise InputError(
            f"{path}: launcher: ray needs what is not installed here: {', '.join(missing)}. "
            "Install it with `make ray`, or set launcher to local."
        )
    return load(path, "ray", Ray)


def require_section(path: Path, section: str) -> None:
    """Raise InputError where the params file at `path` has no such section with values."""
    if not isinstance(sections(path).get(section), dict):
        raise InputError(
            f"{path}: {section}: expected a section with values. Restore it with `git checkout "
            f"{path}`."
        )


def validate(values: Any, context: str, schema: type[S]) -> S:
    """`values` as a `schema`; `context` begins every message.

    Raises:
        InputError: an unknown key, a value of the wrong type or out of bounds, named by key.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        messages = config_errors.explain(error, values, context, schema)
        raise InputError("\n".join(messages)) from None


def trained_models(path: Path) -> list[str]:
    """The models of the training sections in the params file at `path`."""
    return [name.removeprefix("train_") for name in sections(path) if name.startswith("train_")]


def is_sampled(path: Path, section: str) -> bool:
    """Whether a training section of the params file at `path` is a `Sampling`."""
    values = sections(path).get(section)
    return isinstance(values, dict) and "gibbs" in values


def parse_yaml(text: str) -> Any:
    """The content of a params file; yaml.YAMLError is raised where it is no YAML."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise yaml.YAMLError("lists or sections within each other, too deep to read") from None
    except (ValueError, OverflowError) as error:  # of a date or number that there is not
        raise yaml.YAMLError(str(error)) from None


def flatten_params(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section's values by their own names, without the names of the parts that hold them.

    Only a part's `name` is called as the part is: `optimizer.name` becomes `optimizer`.

    Raises:
        InputError: two parts have a value of the same name.
    """
    found: dict[str, Any] = {}
    for key, value in section.items():
        parts = value if isinstance(value, dict) else {"name": value}
        for inner, single in parts.items():
            name = key if inner == "name" else inner
            if name in found:
                raise InputError(
                    f"params.yaml: more than one value of a section is called {name}. Remove the "
                    "one that is not in the section of the same name in git."
                )
            found[name] = single
    return found


class _Loader(yaml.SafeLoader):
    """YAML that knows the numbers `dvc exp run -S` writes: 1e-05, which it makes of 0.00001.

    PyYAML takes that for text. 1e-3, which only a person writes, stays text, and the error says how
    to write it so that every reader of YAML agrees. A key that is there twice is an error, as it is
    for DVC: PyYAML takes the last one.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A section, in which each key is there once."""
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"the key {key.value} is there twice. Remove one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+e[-+][0-9]{2,}$"), list("-+0123456789")
)


def sections(path: Path) -> dict[str, Any]:
    """What the params file at `path` has, by the names of its sections.

    Raises:
        InputError: no such file, not YAML, or no sections.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file. Run from the root of the project, or restore it with "
            f"`git checkout {path}`."
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected named sections, got {type(content).__name__}.")
    return {str(name): section for name, section in content.items()}
