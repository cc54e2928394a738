"""Readers, rows of prompts that begin alike, and both engines."""

import platform
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lager_onnx import Judge
from lager_onnx.models.errors import GradingError
from lager_onnx.models.graph import OUTPUTS
from lager_onnx.models.precisions import Precision
from lager_onnx.runtime.engines.batches import BatchEngine
from lager_onnx.runtime.engines.cpu import CoreEngine
from lager_onnx.runtime.engines.open import open_engine
from lager_onnx.runtime.prefill import Prefill, chunk_bounds, common_prefix
from lager_onnx.runtime.schedule import groups_of_prompts, share_half
from lager_onnx.runtime.session import Weights, open_session, run_graph

# ARM64's products in float32 round by the number of rows.
APART = 0 if platform.machine() in ("x86_64", "AMD64") else 1e-5

prompts = st.lists(st.lists(st.integers(0, 2), max_size=80), max_size=30)


@given(one=st.lists(st.integers(0, 2)), other=st.lists(st.integers(0, 2)))
def test_shared_counts_the_tokens_of_a_common_beginning(one: list[int], other: list[int]) -> None:
    length = common_prefix(one, other)
    assert one[:length] == other[:length]
    assert length == min(len(one), len(other)) or one[length] != other[length]


@given(prompts=prompts)
def test_every_prompt_that_is_not_empty_is_in_one_row(prompts: list[list[int]]) -> None:
    rows = groups_of_prompts(prompts)
    assert sorted(index for row in rows for index in row) == [index for index, ids in enumerate(prompts) if ids]


def test_prompts_that_begin_alike_share_a_row_however_they_come() -> None:
    task, one, other = [1] * 50, [2] * 60, [3] * 60
    prompts = [task + one + [4], task + other + [4], task + one + [5], task + other + [5], [*task, 6], []]
    assert sorted(map(sorted, groups_of_prompts(prompts))) == [[0, 2], [1, 3], [4]]


def test_a_beginning_that_all_share_makes_no_row() -> None:
    """Every core reads the task's description once; that is no reason to read all prompts on one core."""
    assert len(groups_of_prompts([[1] * 500 + [number] for number in range(10)])) == 10


def test_a_long_row_is_cut_so_that_every_core_has_some() -> None:
    alike = [[1] * 100 + [number] for number in range(100)]
    assert max(map(len, groups_of_prompts([*alike, [2]]))) <= 16


def test_prompts_begin_alike_when_they_share_half_of_the_shortest() -> None:
    assert share_half([[1, 2, 3, 4], [1, 2, 9], [1, 2, 5, 5, 5]])
    assert not share_half([[1, 2, 3, 4], [1, 9, 9, 9]])


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_a_prefix_that_all_prompts_share_runs_once_for_all_cores(tiny_judge: Path, cores: int) -> None:
    response = [number % 50 for number in range(200)]
    criteria = [[*response, number, *[9] * 20] for number in range(7)]
    session = open_session(tiny_judge / "model.onnx", device="cpu").session
    expected = [run_graph(session, [prompt]) for prompt in criteria]
    engine = open_engine(tiny_judge / "model.onnx", device="cpu", threads=cores)
    assert isinstance(engine, CoreEngine)
    got = engine.submit(criteria, 4096)()
    assert engine.tokens == 200 + 7 * 21
    for one, other in zip(got, expected, strict=True):
        assert one is not None
        for name in OUTPUTS:
            np.testing.assert_allclose(one[name], other[name][0], rtol=1e-4, atol=1e-5)


def test_a_judge_that_has_run_many_tokens_says_what_it_said_at_first(tiny_judge: Path) -> None:
    """Meanwhile its weights are packed."""
    engine = open_engine(tiny_judge / "model.onnx", device="cpu", threads=2)
    random = np.random.default_rng(0)
    text, *others = (random.integers(0, 50, 400).tolist() for _ in range(8))
    first, *_, last = (engine.submit([prompt], 4096)()[0] for prompt in [text, *others, text])
    assert first is not None
    assert last is not None
    np.testing.assert_allclose(last["layer_logits"], first["layer_logits"], rtol=1e-4, atol=1e-5)


def test_results_come_as_soon_as_they_and_those_before_are_there(tiny_judge: Path) -> None:
    """Of prompts that one core grades one after another, the first is there while the last is not."""
    engine = open_engine(tiny_judge / "model.onnx", device="cpu", threads=1)
    assert isinstance(engine, CoreEngine)
    prompts = [[number % 50, *range(50)] * 9 for number in range(40)]
    results = iter(engine.submit(prompts, 4096))
    next(results)
    assert engine.tokens < 20 * 459
    assert len(list(results)) == 39


@pytest.fixture
def random_prompts() -> list[list[int]]:
    random = np.random.default_rng(1)
    text = random.integers(0, 50, 60).tolist()
    fresh = [random.integers(0, 50, length).tolist() for length in (1, 3, 60, 17)]
    return [text, text[:30] + [7] * 5, [], *fresh, text[:45]]


@pytest.mark.parametrize("cores", [1, 2, 20])
def test_prompt_by_prompt_gives_what_batches_give(
    tiny_judge: Path, random_prompts: list[list[int]], cores: int
) -> None:
    model = tiny_judge / "model.onnx"
    engine = open_engine(model, device="cpu", threads=cores)
    assert isinstance(engine, CoreEngine)
    batched = BatchEngine([open_session(model, device="cpu").session], "CPUExecutionProvider")
    got, expected = (each.submit(random_prompts, 128)() for each in (engine, batched))
    assert [outputs is None for outputs in got] == [not prompt for prompt in random_prompts]
    for one, other in zip(got, expected, strict=True):
        for name in OUTPUTS if one and other else ():
            np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-5)


def test_a_cache_grows_and_forgets_nothing_that_matters(tiny_judge: Path) -> None:
    session = open_session(tiny_judge / "model.onnx", device="cpu").session
    prefill, text = Prefill(session, chunk_tokens=64, capacity_step=32), [number % 50 for number in range(200)]
    for length in (5, 100, 200, 20):  # three buffers, each larger than the one before
        got, expected = prefill.grade(text[:length]), run_graph(session, [text[:length]])
        for name in OUTPUTS:
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
@pytest.mark.parametrize("weights", ["packed", "mapped"])
def test_what_is_cached_does_not_change_a_bit(
    tiny_judges: dict[str, Path], precision: Precision, weights: Weights
) -> None:
    session = open_session(
        tiny_judges[precision] / "model.onnx", device="cpu", threads=1, weights=weights, precision=precision
    ).session
    random = np.random.default_rng(0)
    text, other = (random.integers(0, 50, 400).tolist() for _ in range(2))
    used, large = (Prefill(session, chunk_tokens=chunk) for chunk in (64, 4096))
    for length in [*random.integers(20, 400, 40).tolist(), 17, 33, 65, 129, 257, 385]:
        used.grade(text[: random.integers(0, length)] + other[:100])
        expected = large.grade(text[:length])
        got = used.grade(text[:length])
        large.grade(other)
        for name in OUTPUTS:
            np.testing.assert_allclose(got[name], expected[name], rtol=0, atol=APART, err_msg=str(length))


@given(st.integers(0, 2000), st.integers(1, 2000), st.sampled_from([64, 128, 256, 1024]))
def test_no_chunk_leaves_a_token_alone(cached: int, tokens: int, chunk: int) -> None:
    bounds = chunk_bounds(cached, tokens, chunk)
    lengths = np.diff(bounds)
    assert bounds[-1] == tokens
    assert 0 <= bounds[0] <= cached
    assert bounds[0] >= min(cached - 1, tokens - 17)  # little runs again
    assert tokens == 1 or not (lengths % 16 == 1).any()
    assert lengths.min() > 0
    assert lengths.max() <= 1.6 * chunk


def test_a_prompt_that_fails_leaves_the_reader_clean(tiny_judge: Path) -> None:
    prefill = Prefill(open_session(tiny_judge / "model.onnx", device="cpu").session, chunk_tokens=8)
    good = prefill.grade([1, 2, 3])
    with pytest.raises(GradingError, match="1 prompts of 4 tokens"):
        prefill.grade([1, 2, 3, 10_000])  # no such token
    np.testing.assert_array_equal(prefill.grade([1, 2, 3])["score"], good["score"])


def test_results_come_in_order_while_windows_overlap(tiny_judge: Path) -> None:
    records = [{"instruction": "Count.", "response": "good " * (number % 7 + 1)} for number in range(60)]
    judge = Judge.load(tiny_judge, device="cpu", threads=2)
    got = [grade.score for grade in judge.score(records, batch_tokens=64)]
    np.testing.assert_allclose(got[:7] * 8 + got[:4], got, atol=1e-5)
