"""Raw ids to contiguous indices and back."""

import numpy as np
import pyarrow as pa

from cf.ratings import Indices, Vocabulary


def encode(ids: Indices) -> tuple[Indices, Vocabulary]:
    """The index of each id, and the vocabulary that turns indices back into ids.

    Indices are given in order of first appearance, so the first id has index 0.

    Args:
        ids: (n,) raw ids.

    Returns:
        (n,) indices in [0, number of distinct ids), and their vocabulary.
    """
    encoded = pa.array(ids).dictionary_encode()
    return (
        encoded.indices.to_numpy().astype(np.int64),
        Vocabulary(encoded.dictionary.to_numpy()),
    )
