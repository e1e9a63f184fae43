"""Targets, each a loader with files to damage, and how damaged files are handed to it."""

import traceback
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from cf.core.errors import InputError
from tests.fuzz.guard import guarded, inside
from tests.fuzz.mutations import Example, damaged

CORPUS = Path(__file__).parent / "corpus"


class LoaderError(AssertionError):
    """A loader did something else than to read a file right or to refuse it.

    Attributes:
        kind: the error, and the function of cf that raised it.
    """

    def __init__(self, target: str, name: str, cause: BaseException) -> None:
        super().__init__(f"{target}, {name}: {type(cause).__name__}: {cause}"[:600])
        frames = traceback.extract_tb(cause.__traceback__)
        inside_cf = [frame.name for frame in frames if "/cf/" in frame.filename]
        self.kind = "-".join([type(cause).__name__, *inside_cf[-1:]])


@dataclass(frozen=True)
class Target:
    """A loader.

    Attributes:
        prepare: puts the files that the loader needs into the current folder.
        files: of these, the ones to damage.
        load: calls the loader on the damaged file of this name, and asserts that what it gives is
            right; or `InputError` or `SystemExit` with a message is raised.
        n_examples: how many are tried by `make test`.
        names_file: whether a refusal has the name of the file in it.
        counts: how many files were tried, and how many of them taken.
    """

    name: str
    prepare: Callable[[], object]
    files: Callable[[], list[str]]
    load: Callable[[Path], object]
    n_examples: int
    names_file: bool = True
    counts: Counter[str] = field(default_factory=Counter)

    def seeds(self, folder: Path) -> dict[str, bytes]:
        """The files to damage, by name, now in this folder with all others."""
        folder.mkdir(parents=True, exist_ok=True)
        with inside(folder):
            self.prepare()
            return {name: Path(name).read_bytes() for name in self.files()}


def attempt(target: Target, folder: Path, seeds: dict[str, bytes], example: Example) -> bool:
    """Whether the loader takes a damaged file; the file is as it was afterwards.

    Raises:
        LoaderError: as `load`.
    """
    path = folder / example.name
    path.write_bytes(example.content)
    try:
        return load(target, folder, example.name)
    finally:
        path.write_bytes(seeds[example.name])


def load(target: Target, folder: Path, name: str) -> bool:
    """Whether the loader takes the file of this name in a folder, instead of refusing it.

    Raises:
        LoaderError: an error that no user should see, a hang, too much memory, or a wrong result.
    """
    try:
        with inside(folder), guarded():
            target.load(Path(name))
        return True
    except (InputError, SystemExit) as error:
        said = str(error)
        unnamed = target.names_file and Path(name).name not in said
        if "Traceback" in said or len(said) < 15 or unnamed:
            raise LoaderError(target.name, name, error) from error
        return False
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of Rust's is no Exception
        raise LoaderError(target.name, name, error) from error


def search(
    target: Target, folder: Path, n: int, seed: int | None = None, known: Collection[str] = ()
) -> None:
    """Try `n` damaged files.

    Without a seed they are the same each time. Failures of a known kind are passed over. The
    smallest file of another kind is kept in `CORPUS`.

    Raises:
        LoaderError: as `attempt`.
    """
    seeds = target.seeds(folder)
    last = Example("", b"")

    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        derandomize=seed is None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(seeds))
    def try_one(example: Example) -> None:
        nonlocal last
        last = example
        target.counts["tried"] += 1
        try:
            target.counts["taken"] += attempt(target, folder, seeds, example)
        except LoaderError as failure:
            if failure.kind not in known:
                raise

    if seed is not None:
        try_one = hypothesis.seed(seed)(try_one)
    try:
        try_one()
    except LoaderError as failure:
        failure.add_note(f"kept as {keep(target, last, failure)}")
        raise


def keep(target: Target, example: Example, failure: LoaderError) -> Path:
    """Write an example into the corpus, which is tried for ever: one of each kind of failure."""
    name = example.name.replace("/", "+")
    path = CORPUS / target.name / f"{name}@{failure.kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(example.content)
    return path


def kept(target: Target) -> list[Path]:
    """The examples of the corpus."""
    return sorted((CORPUS / target.name).glob("*@*"))


def read_kept(path: Path) -> Example:
    """An example of the corpus."""
    return Example(path.name.partition("@")[0].replace("+", "/"), path.read_bytes())
