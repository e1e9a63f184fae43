"""A published data set, or the user's own file, to data/ingested."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from cf.core import config, io, paths
from cf.core.config import AUTO, Ingest
from cf.core.errors import exit_on_input_error
from cf.core.progress import working
from cf.core.ratings import Provenance, ids_digest, unit_of
from cf.data import (
    datasets,
    movielens,
    own_files,
    ratings_file,
    remote,
    side_tables,
    table_file,
)
from cf.data.ratings_file import different


@exit_on_input_error
@working("ingest: reading and checking the ratings")
def main() -> None:
    """Fetch the data set that params.yaml names, check it and write it down."""
    params = config.load(paths.PARAMS, "ingest", Ingest)
    on_ray = config.ray(paths.PARAMS)
    own_files.require({"ingest": params.model_dump()})
    with copy_for_workers(params.dataset, on_ray) as path:
        ingest(params, path, on_ray)


@contextmanager
def copy_for_workers(dataset: str, on_ray: config.Ray | None) -> Iterator[str]:
    """The path of a copy of what is at a URL, on Ray where all machines read it."""
    with ExitStack() as stack:
        parent = None
        if on_ray and remote.is_url(dataset):
            from cf.distributed.storage import temporary_folder

            parent = stack.enter_context(temporary_folder(on_ray, "url"))
        path, *_ = stack.enter_context(remote.local_copy(dataset, parent))
        yield path


def ingest(params: Ingest, path: str, on_ray: config.Ray | None) -> None:
    """Check and write down the data set, or the files at `path`."""
    settings: Ingest | None = params
    if params.dataset in datasets.REGISTRY:
        source = datasets.fetch(params.dataset, params.fallbacks)
        files, settings = [source.path], datasets.REGISTRY[source.dataset].settings
    else:
        files, source = datasets.local_files(path)
        if remote.is_url(params.dataset):
            name = remote.name_of(params.dataset)
            source = replace(source, dataset=name, requested=name, origin=params.dataset)
    feedback = "explicit"
    if settings is None:
        ratings, items, users = movielens.read(source.path, source.rating_range)
        tags = movielens.read_tags(source.path)
        ratings_file.write(paths.RATINGS, ratings)
        n_ratings = len(ratings)
        user_ids, item_ids = (different(ratings[key]) for key in ("user_id", "item_id"))
    else:
        own = write_own(files, settings, on_ray)
        items, users, tags = own.items, own.users, side_tables.no_tags()
        n_ratings, user_ids, item_ids = own.n_ratings, users["user_id"], items["item_id"]
        source = replace(source, rating_range=own.rating_range)
        if own.implicit:
            feedback = "implicit"
        if settings is params:
            print(*own.notes, *own.side_notes, sep="\n")
    if settings is not params and (params.items or params.users):
        print(f"ingest.items and ingest.users are not used: {source.dataset} has its own")
    if source.warning:
        print(f"WARNING: {source.warning}", file=sys.stderr)
    io.write_parquet(paths.ITEMS, items)
    io.write_parquet(paths.USERS, users)
    io.write_parquet(paths.TAGS, tags)
    provenance = Provenance(
        dataset=source.dataset,
        requested=source.requested,
        source=source.origin,
        sha256=source.sha256,
        n_ratings=n_ratings,
        n_users=len(user_ids),
        n_items=len(item_ids),
        rating_range=source.rating_range,
        unit=unit_of(source.rating_range) if params.unit == AUTO else params.unit,
        feedback=feedback,
        ids_sha256=ids_digest(user_ids, item_ids),  # encode numbers them in the same order
    )
    io.write_json(paths.PROVENANCE, provenance)
    print(
        f"{provenance.dataset}: {provenance.n_ratings:,} ratings of {provenance.n_items:,} items "
        f"by {provenance.n_users:,} users"
    )


def write_own(
    files: Sequence[Path], settings: Ingest, on_ray: config.Ray | None
) -> ratings_file.Contents:
    """Write the ratings of the user's own files, and return what else they have.

    On Ray, if all of them are Parquet files: of these, workers read parts.
    """
    if on_ray:
        if all(map(table_file.is_parquet, files)):
            from cf.distributed.ingest import ingest_on_ray

            return ingest_on_ray(on_ray, files, settings, paths.RATINGS)
        print("read on this machine: workers of Ray read Parquet files that are not packed")
    own = ratings_file.read(files, settings)
    ratings_file.write(paths.RATINGS, own.ratings)
    return own


if __name__ == "__main__":
    main()
