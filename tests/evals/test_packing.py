from hypothesis import given
from hypothesis import strategies as st

from evals.packing import Query, common_prefix, pack

TOKENS = st.integers(0, 3)
QUERIES = st.lists(
    st.builds(
        Query,
        st.lists(TOKENS, min_size=1, max_size=8).map(tuple),
        st.lists(TOKENS, min_size=1, max_size=3).map(tuple),
    ),
    max_size=12,
)


def paths(row):
    """For each index of a row, the tokens on the way to it."""
    found: list[tuple[int, ...]] = []
    for index, parent in enumerate(row.parents):
        found.append((*(found[parent] if parent >= 0 else ()), row.tokens[index]))
    return found


@given(QUERIES, st.booleans(), st.integers(3, 20))
def test_every_query_is_answered_once_from_its_own_path(queries, branches, max_length):
    answered = []
    for row in pack(queries, max_length, branches=branches):
        to = paths(row)
        assert row.depths == [len(path) - 1 for path in to]
        for query, indexes in row.reads:
            inputs = query.inputs(max_length)
            assert [to[index] for index in indexes] == [
                inputs[: len(inputs) - k] for k in reversed(range(len(query.continuation)))
            ]
            answered.append(query)
    assert len(answered) == len(set(answered))
    assert set(answered) == set(queries)


@given(QUERIES)
def test_rows_without_branches_are_plain_sequences(queries):
    assert not any(row.branches for row in pack(queries, 100, branches=False))


def test_choices_of_one_prompt_share_its_row():
    prompt = tuple(range(10, 40))
    queries = [Query(prompt, (1, 2)), Query(prompt, (1, 3, 4)), Query(prompt, (5, 6))]
    (row,) = pack(queries, 100, branches=True)
    assert len(row.tokens) == 30 + 3  # the prompt, 1 and 3 after it, and 5
    assert row.branches


def test_a_sequence_joins_the_one_it_begins_without_a_branch():
    prompt = tuple(range(10, 40))
    (row,) = pack([Query(prompt, (1,)), Query(prompt, (2, 3, 4)), Query((*prompt, 2), (9,))], 100, branches=False)
    assert row.tokens == [*prompt, 2, 3]
    assert len(row.reads) == 3


def test_prompts_that_differ_early_keep_their_rows():
    queries = [Query((1, 2, k, *range(10, 20)), (7,)) for k in range(3)]
    assert len(pack(queries, 100, branches=True)) == 3


def test_a_row_does_not_grow_without_bound():
    shared = tuple(range(100))
    rows = pack([Query((*shared, *range(200 + 30 * k, 230 + 30 * k)), (7,)) for k in range(20)], 1000, branches=True)
    assert len(rows) == 4  # 130 tokens, then 30 more for each of four further prompts, up to 260
    assert max(len(row.tokens) for row in rows) <= 2 * 130


def test_rows_come_longest_first():
    queries = [Query(tuple(range(k)), (50 + k,)) for k in (3, 9, 5)]
    lengths = [len(row.tokens) for row in pack(queries, 100, branches=False)]
    assert lengths == sorted(lengths, reverse=True)


def test_too_long_inputs_lose_their_oldest_tokens():
    query = Query(tuple(range(10)), (90, 91))
    assert query.inputs(5) == (6, 7, 8, 9, 90)
    assert query.inputs(100) == (*range(10), 90)


def test_nothing_is_packed_into_nothing():
    assert pack([], 10, branches=True) == []
    assert pack([], 10, branches=False) == []


def test_common_prefix():
    assert common_prefix([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix([1], [1, 2]) == 1
    assert common_prefix([], [1]) == 0
