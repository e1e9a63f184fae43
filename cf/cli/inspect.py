"""Say what is in a file of ratings, and how to read it: cf inspect."""

from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cf.core import config, io, paths
from cf.core.config import Ingest
from cf.core.errors import InputError
from cf.data import remote
from cf.data.recognition import N_PROBLEMS, recognize

DEFAULTS = Ingest(dataset="", fallback=None).model_dump()


def main(
    path: str,
    write: bool,
    items: str | None = None,
    users: str | None = None,
    columns: dict[str, str] | None = None,
) -> None:
    """Print what was recognized and the section of params.yaml that reads it; perhaps write it.

    Raises:
        InputError: it is no file of ratings, or some of its lines cannot be read.
    """
    with remote.local_copy(path) as (here, folder, root):
        found = recognize(here, items, users, columns)
    settings, facts = found.settings, found.facts
    if folder:  # of which nothing is left
        dataset = settings.dataset.replace(folder, root)
        settings = settings.model_copy(update={"dataset": dataset})
        facts = [fact for fact in facts if folder not in fact]
    console = Console(highlight=False)
    console.print("\n".join(map(escape, found.format)))
    table = Table("is", "column", "because", "has", box=None)
    for row in found.columns.itertuples(index=False):
        table.add_row(*map(escape, map(str, row)))
    console.print(table)
    console.print("\n".join(map(escape, facts)))
    if found.problems:
        more = ["…"] * (len(found.problems) > N_PROBLEMS)
        raise InputError("\n  ".join(["cannot be read:", *found.problems[:N_PROBLEMS], *more]))
    section = settings.model_dump()
    del section["fallback"]  # which is about published data
    section |= {"items": items, "users": users}  # whose columns are recognized by ingest again
    if write:
        write_section(paths.PARAMS, section)
        command = "make rank" if settings.feedback == "implicit" else "make repro"
        console.print(f"Written to {paths.PARAMS}. `{command}` runs it.")
    else:
        console.print("\nIn params.yaml (`--write` puts it there):\n")
        section = changed(section, DEFAULTS)
        print(
            yaml.safe_dump(
                {"ingest": section}, sort_keys=False, default_flow_style=None, allow_unicode=True
            ),
            end="",
        )


def changed(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The values that are not the default ones, at any depth."""
    kept = {}
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(defaults.get(key), dict):
            value = changed(value, defaults[key]) or defaults[key]
        if value != defaults.get(key):
            kept[key] = value
    return kept


def write_section(path: Path, values: dict[str, Any]) -> None:
    """Write these values into the section ingest of a params file, whose comments stay."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedSeq

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 100
    editor.representer.add_representer(
        type(None),
        lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null"),
    )
    config.require_section(path, "ingest")
    content = editor.load(path.read_text(encoding="utf-8"))

    def update(section: Any, changes: dict[str, Any]) -> None:
        for key, value in changes.items():
            if isinstance(value, dict):
                update(section.setdefault(key, {}), value)
            elif section.get(key, key) != value:
                if isinstance(value, list):
                    value = CommentedSeq(value)
                    value.fa.set_flow_style()
                section[key] = value

    update(content["ingest"], values)
    with io.atomic_write(path) as tmp_path, tmp_path.open("w", encoding="utf-8") as file:
        editor.dump(content, file)
