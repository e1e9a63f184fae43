import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from cf.data.side_tables import no_tags
from stages.encode import encode, encode_tags

id_lists = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50)


@given(id_lists)
def test_indices_are_in_order_of_first_appearance_and_lead_back_to_the_ids(raw: list[int]) -> None:
    ids = np.array(raw, dtype=np.int64)
    ratings = pd.DataFrame({"user_id": ids, "item_id": ids[::-1], "rating": np.float32(1)})
    encoded, user_ids, item_ids = encode(ratings)
    assert list(encoded) == ["user", "item", "rating", "row"]
    assert user_ids.tolist() == list(dict.fromkeys(raw))
    assert user_ids[encoded["user"]].tolist() == raw
    assert item_ids[encoded["item"]].tolist() == raw[::-1]
    assert encoded["row"].tolist() == list(range(len(raw)))
    assert encoded.dtypes.astype(str).tolist() == ["int64", "int64", "float32", "int64"]


@given(id_lists, st.randoms(use_true_random=False))
def test_other_ids_for_the_same_users_give_the_same_indices(raw: list[int], random) -> None:
    others = {i: number for number, i in enumerate(random.sample(sorted(set(raw)), len(set(raw))))}
    frames = [
        pd.DataFrame({"user_id": ids, "item_id": ids, "rating": 1.0})
        for ids in (np.array(raw, np.int64), np.array([others[i] for i in raw], np.int64))
    ]
    encoded = [encode(frame)[0] for frame in frames]
    pd.testing.assert_frame_equal(*encoded)


def test_tags_have_the_index_of_their_item_and_those_of_unrated_items_are_left_out() -> None:
    tags = no_tags()
    for item_id, tag, time in [(30, "a", 3), (10, "b", 1), (99, "c", 2), (30, "a", 1), (20, "", 4)]:
        tags.loc[len(tags)] = item_id, tag, time
    encoded = encode_tags(tags, pd.Index([20, 30, 10]))
    assert list(encoded) == ["item", "tag", "timestamp"]
    assert encoded["item"].dtype == np.int64
    assert encoded.to_numpy().tolist() == [[1, "a", 3], [2, "b", 1], [1, "a", 1], [0, "", 4]]
    for item_ids in (pd.Index([20, 30]), pd.Index(["20", "x"])):
        none = encode_tags(no_tags(), item_ids)
        assert none.dtypes.astype(str).tolist() == ["int64", "str", "int64"]
        assert none.empty
