"""Plain messages about what pydantic finds wrong with a section of params.yaml."""

import difflib
import math
from contextlib import suppress
from decimal import Decimal
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def explain(
    error: ValidationError, values: Any, context: str, schema: type[BaseModel]
) -> list[str]:
    """One message, which begins with `context`, for each key of `values` that does not fit."""
    messages: dict[str, str] = {}  # by key, since each side of a union complains
    for detail in error.errors():
        keys = _keys(detail, values)
        messages.setdefault(".".join([context, *keys]), _explain(detail, keys, schema))
    return [f"{key}: {message}" for key, message in messages.items()]


def format_float(number: float) -> str:
    """The number without an exponent, in the digits that give it back."""
    return format(Decimal(repr(number)), "f")


def _keys(detail: ErrorDetails, values: Any) -> list[str]:
    """The keys that lead to an error, without the names that pydantic gives to types."""
    keys = []
    for part in detail["loc"]:
        inside = (isinstance(values, dict) and part in values) or (
            isinstance(values, list) and isinstance(part, int)
        )
        if inside:
            values = values[part]
        if inside or (detail["type"] == "missing" and part == detail["loc"][-1]):
            keys.append(str(part))
    return keys


def _explain(detail: ErrorDetails, keys: list[str], schema: type[BaseModel]) -> str:
    got = detail["input"]
    if detail["type"] == "extra_forbidden":
        known = list(_schema_at(schema, keys[:-1]).model_fields)
        close = difflib.get_close_matches(keys[-1], known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        return f"unknown key.{hint}" + (f" Known keys: {', '.join(known)}." if known else "")
    if detail["type"] == "missing":
        return "this key is missing. Add it, or restore it from git."
    if detail["type"] == "model_type":
        needed = ", ".join(_schema_at(schema, keys).model_fields)
        return f"expected the keys {needed}, got {got!r}."
    if detail["type"] == "value_error":
        return f"{detail['ctx']['error']}."
    message = f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {got!r}"
    if isinstance(got, str):
        with suppress(ValueError):  # where the text is no number
            if math.isfinite(number := float(got)):
                as_text = f"YAML reads {got} as text: write {format_float(number)}"
                message += f". {'Remove the quotes' if number == yaml.safe_load(got) else as_text}"
    return f"{message}."


def _schema_at(schema: type[BaseModel], keys: list[str]) -> type[BaseModel]:
    """The section that `keys` lead to; an empty one where it depends on the values."""
    remaining = iter(keys)
    for key in remaining:
        inner = schema.model_fields[key].annotation
        if get_origin(inner) is dict and next(remaining, None):
            inner = get_args(inner)[1]
        schema = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else BaseModel
    return schema
