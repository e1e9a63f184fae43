"""Targets, each a loader with files to damage, and how damaged files are handed to it."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from cf.core.errors import InputError
from tests.fuzz.guard import guarded, inside
from tests.fuzz.mutations import damaged

CORPUS = Path(__file__).parent / "corpus"
Example = tuple[str, bytes]


class Failure(AssertionError):
    """A loader did something else than to read a file right or to refuse it."""


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
    """

    name: str
    prepare: Callable[[], object]
    files: Callable[[], list[str]]
    load: Callable[[Path], object]
    n_examples: int
    names_file: bool = True

    def seeds(self, folder: Path) -> dict[str, bytes]:
        """The files to damage, by name, now in this folder with all others."""
        folder.mkdir(parents=True, exist_ok=True)
        with inside(folder):
            self.prepare()
            return {name: Path(name).read_bytes() for name in self.files()}


def attempt(target: Target, folder: Path, seeds: dict[str, bytes], example: Example) -> bool:
    """Whether the loader takes a damaged file; the file is as it was afterwards.

    Raises:
        Failure: an error that no user should see, a hang, too much memory, or a wrong result.
    """
    name, content = example
    path = Path(name)
    with inside(folder):
        path.write_bytes(content)
        try:
            with guarded():
                target.load(path)
            return True
        except (InputError, SystemExit) as error:
            said = str(error)
            if "Traceback" in said or len(said) < 15 or (target.names_file and path.name not in said):
                raise Failure(f"{target.name}, {name}: the message is {said!r}") from None
            return False
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of Rust's is no Exception
            raise Failure(f"{target.name}, {name}: {type(error).__name__}: {error}") from error
        finally:
            path.write_bytes(seeds[name])


def search(target: Target, folder: Path, n: int, seed: int | None = None) -> tuple[int, int]:
    """Try `n` damaged files: how many there were, and how many of them the loader took.

    Without a seed they are the same each time. The smallest file that fails is kept in `CORPUS`.

    Raises:
        Failure: as `attempt`.
    """
    seeds = target.seeds(folder)
    counts, last = [0, 0], [("", b"")]

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
        last[0] = example
        counts[0] += 1
        counts[1] += attempt(target, folder, seeds, example)

    if seed is not None:
        try_one = hypothesis.seed(seed)(try_one)
    try:
        try_one()
    except Failure as failure:
        with suppress(AttributeError):
            failure.add_note(f"kept as {keep(target, last[0])}")
        raise
    return counts[0], counts[1]


def keep(target: Target, example: Example) -> Path:
    """Write an example into the corpus, which is tried for ever."""
    name, content = example
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = CORPUS / target.name / f"{name.replace('/', '+')}@{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def kept(target: Target) -> list[Path]:
    """The examples of the corpus."""
    return sorted((CORPUS / target.name).glob("*@*"))


def read_kept(path: Path) -> Example:
    """An example of the corpus."""
    return path.name.partition("@")[0].replace("+", "/"), path.read_bytes()
