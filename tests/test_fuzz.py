"""Every loader on damaged files: each is refused in plain words, or read right."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("resource", reason="no limits of memory here")

from tests.fuzz.mutations import Example
from tests.fuzz.run import CORPUS, attempt, kept, load, read_kept, search
from tests.fuzz.targets import TARGETS

FORMATS: dict[str, Any] = {
    ".csv": (pd.read_csv, partial(pd.DataFrame.to_csv, index=False)),
    ".parquet": (pd.read_parquet, pd.DataFrame.to_parquet),
}
OF_TABLES = ("encode", "split", "evaluate", "rank", "blend", "plot", "bayesmf")
REQUESTS = {"page", "served_model"}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_or_read_right(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    target.counts.clear()
    search(target, tmp_path, target.n_examples)
    assert 0 < target.counts["taken"] < target.counts["tried"]


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_once_failed(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    seeds = target.seeds(tmp_path)
    for name in list(seeds)[: None if target.names_file else 1]:
        assert attempt(target, tmp_path, seeds, Example(name, seeds[name])), "undamaged, it is read"
    for path in kept(target):
        attempt(target, tmp_path, seeds, read_kept(path))


@pytest.mark.parametrize("name", sorted(set(TARGETS) - REQUESTS))
def test_what_is_no_file(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    for file in target.seeds(tmp_path):
        path, aside = tmp_path / file, tmp_path / "aside"
        path.rename(aside)
        for put in (path.mkdir, lambda path=path: path.symlink_to(path), path.touch):
            put()
            load(target, tmp_path, file)
            path.rmdir() if path.is_dir() else path.unlink()
        load(target, tmp_path, file)
        aside.rename(path)


@pytest.mark.parametrize("name", OF_TABLES)
def test_tables_without_one_of_their_columns(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    for file, content in target.seeds(tmp_path).items():
        path = tmp_path / file
        read, write = FORMATS.get(path.suffix, (None, None))
        if read:
            table = read(path)
            for column in table:
                write(table.drop(columns=column), path)
                load(target, tmp_path, file)
            path.write_bytes(content)


def test_the_corpus_is_of_these_targets() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= set(TARGETS)
