"""Damage to files of each format, as strategies of hypothesis: from a file's bytes to others."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import strategies as st

Damage = Callable[[st.DrawFn, bytes], bytes]


@dataclass(frozen=True)
class Example:
    """A file by name, and its content."""

    name: str
    content: bytes = field(repr=False)


DEEP = 20_000
TEXTS = (
    *(
        "",
        " ",
        "nan",
        "NaN",
        "NaT",
        "inf",
        "-inf",
        "1e400",
        "-0",
        "1e-320",
        "0x10",
        "1_000",
        "\uff11",
    ),
    *("9223372036854775808", "-1", "0.1", "9" * 5000, "a" * 5000, "true", "null", "None", "now"),
    *("=1+1", "'", '"', '""', "\0", "\ufeff", "🙂", "\u202e", "\u2028", "\r", "\n", "\r\n", "\\"),
    *(",", ";", "::", "\t", "\x1f", "%", "#", "|", "[", "{", "[]", "{}", ": ", "- ", "&a", "*a"),
    *("1,5", "2001-99-99", "2020-01-01", "00:00:61", "!!python/object:os.system", "\x85", "~"),
)
BYTES = (
    *(b"\xff", b"\xed\xa0\x80", b"\x81", b"\0\0\0\0", b"\xff" * 8, b"\x7f" + b"\xff" * 7),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"PK\x03\x04", b"\x1f\x8b\x08", b"PAR1", b"\x28\xb5\x2f\xfd"),
)
VALUES = (
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 10**6, 2**31, 2**63, 10**25, 1e308, 5e-324),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "1", "nan", "\ud800", "\0", "a" * 5000),
    *("../../etc/passwd", "/", [], {}, [[]], {"a": 1}, [None], [1, "x"], list(range(100))),
)
SCALARS = [value for value in VALUES if value != "\ud800" and not isinstance(value, list | dict)]
TOKEN = re.compile(rb"\"[^\"]*\"|[\w.+-]+|[^\w\s]")
MOST = 1 << 20
"""Bytes of a damaged file: where a mutation doubles what there is, it stays small."""


def any_of(*damages: Damage) -> Damage:
    """One of these kinds of damage, or several after each other."""

    def damaged(draw: st.DrawFn, content: bytes) -> bytes:
        for _ in range(draw(st.integers(1, 3))):
            content = draw(st.sampled_from(damages))(draw, content)[:MOST]
        return content

    return damaged


def in_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes flipped, cut out, doubled, put in, or cut off at the end."""
    at = draw(st.integers(0, len(content)))
    end = min(len(content), at + draw(st.integers(1, 40)))
    head, part, tail = content[:at], content[at:end], content[end:]
    kind = draw(st.sampled_from(["flip", "delete", "double", "insert", "truncate", "replace"]))
    if kind == "flip" and part:
        return head + bytes([part[0] ^ (1 << draw(st.integers(0, 7)))]) + part[1:] + tail
    if kind == "delete":
        return head + tail
    if kind == "double":
        return head + part * 2 + tail
    if kind == "truncate":
        return head
    extra = draw(st.sampled_from(BYTES) | st.binary(max_size=8))
    return head + extra + (part if kind == "insert" else b"") + tail


def in_lines(draw: st.DrawFn, content: bytes) -> bytes:
    """Lines deleted, doubled, moved, joined, or ended in other ways."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    at = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.sampled_from(["delete", "double", "move", "join", "end", "blank", "append"]))
    line = lines[at]
    if kind in ("delete", "move"):
        del lines[at]
    if kind == "double":
        lines.insert(at, line)
    if kind == "move":
        lines.insert(draw(st.integers(0, len(lines))), line)
    if kind == "join":
        lines[at] = line.rstrip(b"\r\n")
    if kind == "end":
        ending = draw(st.sampled_from([b"\r\n", b"\r", b"\n\n", b"\n\r", b",\n", b" \n"]))
        lines[at] = line.rstrip(b"\r\n") + ending
    if kind == "blank":
        lines[at] = b"\n"
    if kind == "append":
        lines.append(draw(st.sampled_from(TEXTS)).encode())
    return b"".join(lines)


def in_tokens(draw: st.DrawFn, content: bytes) -> bytes:
    """A word, a number or a sign replaced by something nasty, removed or doubled."""
    found = list(TOKEN.finditer(content))
    if not found:
        return content
    token = found[draw(st.integers(0, len(found) - 1))]
    new = draw(
        st.sampled_from(TEXTS).map(str.encode)
        | st.sampled_from(BYTES)
        | st.sampled_from([each.group() for each in found[:50]])
    )
    return content[: token.start()] + new + content[token.end() :]


def _paths(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys: Any = ()
    if isinstance(content, dict):
        keys = content
    if isinstance(content, list):
        keys = range(len(content))
    return [path, *(found for key in keys for found in _paths(content[key], (*path, key)))]


def in_structure(draw: st.DrawFn, content: Any) -> Any:
    """Nested lists and dicts with one value replaced, removed, wrapped or added."""
    *above, last = path = draw(st.sampled_from(_paths(content))) or (None,)
    value = draw(st.sampled_from(VALUES))
    if path == (None,):
        return value
    holder = content
    for key in above:
        holder = holder[key]
    kind = draw(st.sampled_from(["replace", "delete", "wrap", "add", "nudge", "copy"]))
    if kind == "replace":
        holder[last] = value
    elif kind == "delete":
        del holder[last]
    elif kind == "wrap":
        holder[last] = [holder[last]]
    elif kind == "nudge" and isinstance(holder[last], int | float):
        holder[last] = draw(st.sampled_from([-1, 1e300, 0.5, 2])) * holder[last]
    elif kind == "copy":
        others = list(holder) if isinstance(holder, dict) else range(len(holder))
        holder[last] = holder[draw(st.sampled_from(list(others)))]
    elif isinstance(holder, dict):
        holder[draw(st.sampled_from(["x", "", "name", "\ud800", "a\nb"]))] = value
    else:
        holder.insert(0, value)
    return content


def in_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file with other values, with a key twice, or nested too deeply."""
    try:
        found = in_structure(draw, json.loads(content))
    except (ValueError, RecursionError):
        return content
    text = json.dumps(found, indent=2)
    match draw(st.sampled_from(["plain", "plain", "plain", "deep", "digits", "twice"])):
        case "deep":
            text = re.sub(r"\d+|null", "[" * DEEP, text, count=1)
        case "digits":
            text = re.sub(r"\d+|null", "9" * 5000, text, count=1)
        case "twice":
            text = re.sub(r"(?m)^  (.*,)$", r"\1\n\1", text, count=1)
    return text.encode("utf-8", "surrogatepass")


def in_yaml(draw: st.DrawFn, content: bytes) -> bytes:
    """A YAML file with other values, or nested too deeply."""
    try:
        found = in_structure(draw, yaml.safe_load(content))
    except (yaml.YAMLError, RecursionError, ValueError):
        return content
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True)
    if draw(st.integers(0, 9)) == 0:
        text = re.sub(r"\d+", "[" * 5000, text, count=1)
    return text.encode("utf-8", "surrogatepass")


CASTS = (
    *(pa.string(), pa.large_string(), pa.int8(), pa.uint64(), pa.float16(), pa.float32()),
    *(pa.float64(), pa.bool_(), pa.binary(), pa.date32(), pa.timestamp("ns", "Europe/Berlin")),
    *(pa.time32("s"), pa.duration("ms"), pa.decimal128(38, 9), pa.int32(), pa.int64()),
    *(pa.null(), pa.list_(pa.int64()), pa.struct({"a": pa.int64()})),
    pa.dictionary(pa.int8(), pa.string()),
)  # fmt: skip
CODECS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")


def in_table(draw: st.DrawFn, content: bytes) -> bytes:
    """A Parquet file with a column of another type, name or place, or with other values."""
    try:
        table = pq.read_table(BytesIO(content))
    except (pa.ArrowException, OSError, ValueError):
        return content
    if not table.num_columns:
        return content
    at = draw(st.integers(0, table.num_columns - 1))
    name, column = table.column_names[at], table.column(at)
    kinds = ["type", "value", "null", "drop", "rename", "double", "rows", "metadata", "copy"]
    match draw(st.sampled_from(kinds)):
        case "type":
            kind = draw(st.sampled_from(CASTS))
            try:
                new = column.cast(kind, safe=False)
            except (pa.ArrowException, TypeError):
                new = pa.nulls(len(column), kind)
            table = table.set_column(at, name, new)
        case "value":
            values = column.to_pylist()
            new_value = draw(st.sampled_from([*SCALARS, *TEXTS, *values[:1]]))
            if values:
                values[draw(st.integers(0, len(values) - 1))] = new_value
            try:
                column = pa.array(values, column.type)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                column = pa.array([None if v is None else str(v)[:9] for v in values], pa.string())
            table = table.set_column(at, name, column)
        case "null":
            mask = np.zeros(len(column), bool)
            mask[: draw(st.integers(0, len(column)))] = True
            values = [None if gone else v for v, gone in zip(column.to_pylist(), mask, strict=True)]
            table = table.set_column(at, name, pa.array(values, column.type))
        case "drop":
            table = table.remove_column(at)
        case "rename":
            names = table.column_names
            names[at] = draw(st.sampled_from([*TEXTS[:4], "row", "user", "x"]))
            table = table.rename_columns(names)
        case "double":
            table = table.append_column(name, column)
        case "rows":
            order = draw(st.lists(st.integers(0, max(0, len(table) - 1)), max_size=5))
            kept = list(range(len(table))) if draw(st.booleans()) else []
            table = table.take(pa.array([*kept, *order] if len(table) else [], pa.int64()))
        case "metadata":
            known = dict.fromkeys(table.schema.metadata or {b"pandas": b""}, b"{")
            table = table.replace_schema_metadata(known if draw(st.booleans()) else None)
        case "copy":
            other = table.column(draw(st.integers(0, table.num_columns - 1)))
            table = table.set_column(at, name, other)
    buffer = BytesIO()
    try:
        pq.write_table(table, buffer, compression=draw(st.sampled_from(CODECS)))
    except (pa.ArrowException, OSError, ValueError):
        return content
    return buffer.getvalue()


def in_tensors(draw: st.DrawFn, content: bytes) -> bytes:
    """A safetensors file with another header, of which the length may be right or wrong."""
    size = int.from_bytes(content[:8], "little")
    header = in_json(draw, content[8 : 8 + size])
    said = draw(st.sampled_from([len(header), len(header), len(header), 0, 2**63, 2**40, size]))
    return said.to_bytes(8, "little") + header + content[8 + size :]


def in_array(draw: st.DrawFn, content: bytes) -> bytes:
    """An npy file of another type, shape or order, or with other values."""
    array = np.load(BytesIO(content), allow_pickle=False) if content else np.zeros(0)
    match draw(st.sampled_from(["type", "shape", "value", "order", "size"])):
        case "type":
            kind = draw(st.sampled_from(["int8", "float64", "U5", "M8[s]", "complex64", "?", "V4"]))
            array = np.zeros(array.shape, kind)
        case "shape":
            array = draw(st.sampled_from([array.reshape(-1), array[None], array[:-1], array[:0]]))
        case "value" if array.size:
            new = draw(st.sampled_from([-1, 0, 1e4, 2**62, np.nan, np.inf]))
            with np.errstate(all="ignore"):
                array = array.copy()
                array.flat[draw(st.integers(0, array.size - 1))] = np.array(new).astype(array.dtype)
        case "order":
            array = np.asfortranarray(array[::-1])
        case "size":
            shape = draw(st.sampled_from(["(9999999999999,)", "(-5,)", "(2, 2", "()", "'x'"]))
            new = re.sub(rb"\([\d, ]*\)", shape.encode(), content, count=1)
            return new[:10] + new[10:].replace(b"  ", b"", max(0, len(new) - len(content)) // 2)
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


BINARY = any_of(in_bytes)
TEXT = any_of(in_tokens, in_lines, in_bytes)
JSON = any_of(in_json, in_json, in_tokens, in_bytes)
YAML = any_of(in_yaml, in_tokens, in_lines, in_bytes)
PARQUET = any_of(in_table)
DAMAGE: dict[str, tuple[Damage, ...]] = {
    ".csv": (TEXT,),
    ".json": (JSON,),
    ".yaml": (YAML,),
    ".parquet": (PARQUET, PARQUET, PARQUET, BINARY),
    ".safetensors": (in_tensors, in_tensors, BINARY),
    ".npy": (in_array, in_array, BINARY),
    "": (BINARY,),
}
"""How files are damaged, by their names' ends."""


@st.composite
def damaged(draw: st.DrawFn, seeds: dict[str, bytes]) -> Example:
    """One of these files with some damage."""
    name = draw(st.sampled_from(sorted(seeds)))
    ending = next(end for end in DAMAGE if name.endswith(end))
    damage = draw(st.sampled_from(DAMAGE[ending]))
    return Example(name, damage(draw, seeds[name])[:MOST])
