"""Made-up files of every form, whole and damaged: what is read is what was written, or nothing."""

import csv
import json
import os
import re
from contextlib import suppress
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cf.core.config import Columns, Ingest, ItemTable, TextLayout
from cf.core.errors import InputError
from cf.data import ratings_file, recognition, side_tables, table_file, text_file, values
from tests import forms

N = int(os.environ.get("CF_FUZZ", 0))
quick = settings(
    max_examples=N or 150,
    derandomize=not N,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("forms")


def write(folder, content, name="ratings.any"):
    path = folder / name
    path.write_bytes(content)
    return path


def read(path, columns=None, **layout):
    stated = Ingest(
        dataset=str(path),
        fallback=None,
        columns=Columns(**(columns or {})),
        layout=TextLayout(**layout),
        rating_range=[-1e9, 1e9],
    )
    return tuples(ratings_file.read([path], stated).ratings)


def tuples(ratings):
    frame = ratings.astype({"user_id": "str", "item_id": "str", "rating": "float64"})
    return list(frame.itertuples(index=False, name=None))


def expected(file):
    """Rows, with whole numbers that were written as floats."""
    rows = file.frame.rows()
    for at in (0, 1):
        if all(is_whole_float(row[at]) for row in rows):
            rows = [(*row[:at], row[at].removesuffix(".0"), *row[at + 1 :]) for row in rows]
    return rows


def is_whole_float(text):
    return text.endswith(".0") and text[:-2].isascii() and str(int_or(text[:-2])) == text[:-2]


def int_or(text):
    try:
        return int(text) if abs(int(text)) < 2**63 else None
    except ValueError:
        return None


@quick
@given(forms.text_files() | forms.json_files() | forms.parquet_files())
def test_what_is_written_is_read(folder, file):
    path = write(folder, file.content)
    assert read(path, file.frame.stated, **file.layout) == expected(file)


@quick
@given(forms.text_files(max_rows=40), st.sampled_from([300, 400, 700]), st.integers(1, 50))
def test_files_of_many_blocks_are_read_as_those_of_one(folder, file, block_size, n_waiting):
    path = write(folder, file.content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "BLOCK_SIZE", block_size)
        patch.setattr(values, "N_WAITING", n_waiting)
        try:
            rows = read(path, file.frame.stated, **file.layout)
        except InputError as error:
            if "block" in str(error):  # a row is longer than one
                return
            raise
    assert rows == expected(file)


@quick
@given(forms.text_files() | forms.json_files() | forms.parquet_files())
def test_what_is_recognized_is_read_or_refused(folder, file):
    path = write(folder, file.content)
    try:
        found = recognition.recognize(str(path))
    except InputError:
        return
    if found.problems or found.settings.repeats != "refuse":
        return
    stated = found.settings.model_copy(update={"rating_range": [-1e9, 1e9]})
    rows = tuples(ratings_file.read([path], stated).ratings)
    assert len(rows) == len(file.frame.rows())
    named = Columns(**file.frame.stated)
    in_latin_1 = file.layout.get("encoding") == "latin-1"  # which may be UTF-8 as well
    if found.settings.columns == named and not in_latin_1 and stated.layout.thousands == "auto":
        assert rows == expected(file)


@quick
@given(forms.damaged_text())
def test_what_a_damaged_file_gives_is_in_it(folder, damaged):
    file, content = damaged
    path = write(folder, content)
    try:
        rows = read(path, file.frame.stated, **file.layout)
    except InputError:
        return
    encoding = file.layout["encoding"]
    if encoding == "auto":
        encoding = table_file.open_table(path, TextLayout(**file.layout)).notes[0].split()[2][:-1]
    text = content.decode(encoding).removeprefix("\ufeff")
    records = [*parsed(text, file)]
    assert len(rows) <= len(records)
    told = file.n_before == 0 and text.startswith(("#", "%"))  # left out as a comment, maybe
    if content.startswith(file.before) and not told:
        assert len(rows) == len(records) - file.n_before, "rows in = rows out"
    table = records[len(records) - len(rows) :]
    columns, header = list(file.frame.columns), "1" not in file.frame.columns
    assert {len(fields) for fields in table} == {len(columns) if header else len(table[0])}
    if content.startswith(file.before) and not told:
        lines = re.split("\r?\n", text)
        whole = filter(None, re.split("\r?\n", file.text))
        for line, fields in zip([*whole][-len(file.rows) :], file.rows, strict=True):
            assert line not in lines or fields in table, "no line is swallowed"
    for at, key in enumerate(["user", "item"]):
        values = [fields[columns.index(file.frame.names[key])] for fields in table]
        if all(map(is_whole_float, values)):
            values = [value.removesuffix(".0") for value in values]
        assert [row[at] for row in rows] == values
    comma = file.layout.get("decimal") == ","
    for row, fields in zip(rows, table, strict=True):
        value = fields[columns.index(file.frame.names["rating"])]
        assert row[2] == np.float32(value.replace(",", ".") if comma else value)
    if "time" in file.frame.names:
        assert all(-(10**11) < row[3] < 10**11 for row in rows)


def parsed(text, file):
    """The rows of a text, read another way: lines with wrong quotes are taken without them."""
    lines = [line for line in re.split(r"\r\n|\n|\r", text) if line]
    if file.delimiter == " ":
        return [re.split("[ \t]+", line.strip(" \t")) for line in lines if line.strip(" \t")]
    if not file.quoted:
        return [line.split(file.delimiter) for line in lines]
    how = {"delimiter": file.delimiter, "strict": True}
    with suppress(csv.Error):
        return [*filter(None, csv.reader(StringIO(text, newline=""), **how))]
    rows = []
    for line in lines:
        try:
            rows += csv.reader([line], **how)
        except csv.Error:
            rows.append(line.split(file.delimiter))
    return rows


@quick
@given(forms.damaged_json())
def test_what_damaged_json_gives_is_in_it(folder, damaged):
    file, content = damaged
    path = write(folder, content)
    try:
        rows = read(path, file.frame.stated, **file.layout)
    except InputError:
        return
    text = content.decode("utf-8-sig")
    lines = ",".join(filter(str.strip, text.split("\n")))
    whole = text if text.lstrip().startswith("[") else f"[{lines}]"
    entries = json.loads(whole, parse_int=str, parse_float=str)
    assert len(rows) == len(entries)
    for at, key in enumerate(["user", "item"]):
        values = [entry[file.frame.names[key]] for entry in entries]
        values = [value if isinstance(value, str) else json.dumps(value) for value in values]
        if all(map(is_whole_float, values)):
            values = [value.removesuffix(".0") for value in values]
        assert [row[at] for row in rows] == values


@quick
@given(forms.damaged_packed())
def test_a_damaged_packed_file_gives_all_or_nothing(folder, damaged):
    file, content, has_checksum = damaged
    path = write(folder, content)
    try:
        rows = read(path, file.frame.stated, **file.layout)
    except InputError:
        return
    assert not has_checksum or rows == expected(file)


@quick
@given(st.binary(max_size=400) | forms.odd_text().map(str.encode) | forms.damaged_parquet())
def test_anything_is_read_or_refused(folder, content):
    path = write(folder, content)
    with suppress(InputError):
        inspect_and_read(path)
    with suppress(InputError):
        read(path, {"user_id": "1", "item_id": "2", "rating": "3", "timestamp": None}, header=False)
    with suppress(InputError):
        side_tables.read_items(ItemTable(file=str(path)), pd.Series(["1", "2", "a"]))


def inspect_and_read(path):
    found = recognition.recognize(str(path))
    if not found.problems:
        ratings_file.read([path], found.settings)


@quick
@given(forms.item_files(), st.randoms())
def test_what_is_written_of_items_is_read(folder, written, random):
    content, rows = written
    path = write(folder, content, "items.any")
    order = random.sample(rows, len(rows))
    asked = pd.Series([row[0] for row in order] + ["of no item"], dtype="str")
    settings = ItemTable(file=str(path), features=[], separator="|")
    items, _ = side_tables.read_items(settings, asked)
    items = items[["item_id", "title", "year", "genres"]].astype({"item_id": "str"})
    assert list(items.itertuples(index=False, name=None))[:-1] == order
    assert items.iloc[-1, 1:].isna().tolist() == [True, True, False]


@quick
@given(forms.item_files().flatmap(lambda written: forms.damaged(written[0])))
def test_damaged_items_are_read_or_refused(folder, content):
    path = write(folder, content, "items.any")
    with suppress(InputError):
        side_tables.read_items(ItemTable(file=str(path)), pd.Series(["1", "2", "13", "a"]))
