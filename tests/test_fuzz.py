"""Every loader on damaged files: each is refused in plain words, or read right."""

from pathlib import Path

import pytest

pytest.importorskip("resource", reason="no limits of memory here")

from tests.fuzz.mutations import Example
from tests.fuzz.run import CORPUS, attempt, kept, read_kept, search
from tests.fuzz.targets import TARGETS


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


def test_the_corpus_is_of_these_targets() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} <= set(TARGETS)
