import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cf.data.encoding import encode

ids = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50)


@given(ids)
def test_the_vocabulary_turns_indices_back_into_ids(raw: list[int]) -> None:
    indices, vocabulary = encode(np.array(raw, dtype=np.int64))
    assert vocabulary.ids[indices].tolist() == raw
    assert len(set(vocabulary.ids.tolist())) == len(vocabulary)


@given(ids)
def test_indices_come_in_order_of_first_appearance(raw: list[int]) -> None:
    indices, vocabulary = encode(np.array(raw, dtype=np.int64))
    assert vocabulary.ids.tolist() == list(dict.fromkeys(raw))
    assert indices.dtype == np.int64
