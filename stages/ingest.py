"""A published data set, or the user's own file, to data/ingested."""

import sys
from dataclasses import replace

from cf.core import config, io, paths
from cf.core.config import AUTO, Ingest
from cf.core.errors import exit_on_input_error
from cf.core.progress import working
from cf.core.ratings import Provenance, ids_digest, unit_of
from cf.data import datasets, movielens, own_files, ratings_file, remote, side_tables


@exit_on_input_error
@working("ingest: reading and checking the ratings")
def main() -> None:
    """Fetch the data set that params.yaml names, check it and write it down."""
    params = config.load(paths.PARAMS, "ingest", Ingest)
    own_files.require({"ingest": params.model_dump()})
    with remote.local_copy(params.dataset) as (path, *_):
        ingest(params, path)


def ingest(params: Ingest, path: str) -> None:
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
    else:
        own = ratings_file.read(files, settings)
        ratings, items, users, tags = own.ratings, own.items, own.users, side_tables.no_tags()
        source = replace(source, rating_range=own.rating_range)
        if own.implicit:
            feedback = "implicit"
        if settings is params:
            print(*own.notes, *own.side_notes, sep="\n")
    if settings is not params and (params.items or params.users):
        print(f"ingest.items and ingest.users are not used: {source.dataset} has its own")
    if source.warning:
        print(f"WARNING: {source.warning}", file=sys.stderr)
    io.write_parquet(paths.RATINGS, ratings)
    io.write_parquet(paths.ITEMS, items)
    io.write_parquet(paths.USERS, users)
    io.write_parquet(paths.TAGS, tags)
    user_ids, item_ids = (ratings[key].unique() for key in ("user_id", "item_id"))
    provenance = Provenance(
        dataset=source.dataset,
        requested=source.requested,
        source=source.origin,
        sha256=source.sha256,
        n_ratings=len(ratings),
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


if __name__ == "__main__":
    main()
