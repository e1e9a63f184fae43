"""Every example of docs/data.md is read as the page says."""

import bz2
import gzip
import io
import lzma
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from cf.core.config import Ingest
from cf.data import ratings_file, recognition

PAGE = (Path(__file__).parents[1] / "docs/data.md").read_text()
SECTION = re.compile(
    r"^### (?P<title>.*)\n(?:\n.*)*?\n```text\n(?P<example>(?:.*\n)+?)```\n"
    r"(?:\n```yaml\n(?P<stated>(?:.*\n)+?)```\n)?\n→ (?P<read>.*)\n",
    re.M,
)


class Form(NamedTuple):
    """An example of the page, what is stated to read it, and the rows that are read."""

    example: str
    stated: dict[str, Any]
    read: list[list[str]]


FORMS = {
    found["title"]: Form(
        found["example"],
        yaml.safe_load(found["stated"] or "{}"),
        [re.findall(r"`([^`]*)`", row) for row in found["read"].split(" · ")],
    )
    for found in SECTION.finditer(PAGE)
}


def rows(ratings: pd.DataFrame) -> list[list[str]]:
    """The rows as the page writes them."""
    columns = [
        column for column in ("user_id", "item_id", "rating", "timestamp") if column in ratings
    ]
    texts = ratings[columns].astype({"user_id": "str", "item_id": "str"})
    return [
        [f"{v:g}" if type(v) is float else str(v) for v in row] for row in texts.to_numpy(object)
    ]


def ingest(path: Path, **stated: Any) -> Ingest:
    return Ingest.model_validate({"dataset": str(path), "fallback": None, **stated})


def test_all_sections_have_an_example() -> None:
    assert len(FORMS) == PAGE.count("```text\n") > 20
    assert set(FORMS) == set(re.findall(r"^\| \[(.*?)\]\(#", PAGE, re.M))


@pytest.mark.parametrize("title", FORMS)
def test_the_example_is_read_as_the_page_says(tmp_path: Path, title: str) -> None:
    form = FORMS[title]
    path = tmp_path / "file"
    path.write_text(form.example, encoding="utf-8", newline="")
    assert len(form.example.splitlines()) <= 5
    assert rows(ratings_file.read([path], ingest(path, **form.stated)).ratings) == form.read
    found = recognition.recognize(str(path)).settings
    if "missing" in form.stated:  # which is a question of what the numbers mean
        found = found.model_copy(update=form.stated)
    assert rows(ratings_file.read([path], found).ratings) == form.read


PLAIN = FORMS["Commas, with a header"]
CONTENT = PLAIN.example.encode()


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ratings.csv", content)
    return buffer.getvalue()


def parquet(content: bytes) -> bytes:
    buffer = io.BytesIO()
    pd.read_csv(io.BytesIO(content)).to_parquet(buffer, index=False)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(CONTENT),
        bz2.compress(CONTENT),
        lzma.compress(CONTENT),
        pa.compress(CONTENT, codec="zstd", asbytes=True),
        zipped(CONTENT),
        parquet(CONTENT),
        PLAIN.example.encode("utf-16"),
        b"\xef\xbb\xbf" + CONTENT,
        CONTENT.replace(b"\n", b"\r\n"),
    ],
    ids=["gz", "bz2", "xz", "zst", "zip", "parquet", "utf-16", "byte-order mark", "crlf"],
)
def test_what_the_page_says_of_files_holds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert rows(ratings_file.read([path], ingest(path)).ratings) == PLAIN.read


def test_a_folder_and_a_pattern_are_read_as_one(tmp_path: Path) -> None:
    header, *lines = PLAIN.example.splitlines()
    for n, line in enumerate(lines):
        (tmp_path / f"{n}.csv").write_text(f"{header}\n{line}\n")
    for path in (tmp_path, tmp_path / "*.csv"):
        found = recognition.recognize(str(path)).settings
        files = sorted(tmp_path.iterdir())
        assert rows(ratings_file.read(files, found).ratings) == PLAIN.read
