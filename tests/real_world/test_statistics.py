"""Figures of the same text, of scores that differ by noise, and of few groups."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import kendalltau, pearsonr, spearmanr

from lager_onnx import Judge
from lager_onnx.analysis import compare, evaluate, tune
from lager_onnx.analysis.evaluation.evaluate import beside_baselines
from lager_onnx.analysis.evaluation.metrics import LEAST_GROUPS, Resamples
from lager_onnx.analysis.evaluation.tables import as_csv, as_json, as_text
from lager_onnx.analysis.labels.labelled import Labelled
from lager_onnx.analysis.tuning.choose import choose
from lager_onnx.analysis.tuning.loss import Loss
from lager_onnx.cli import main
from lager_onnx.models.errors import RecordError
from lager_onnx.models.method import NOISE, without_noise
from lager_onnx.runtime.decode import Text
from lager_onnx.runtime.engines.base import Graded, Outputs
from lager_onnx.runtime.engines.batches import BatchEngine
from lager_onnx.runtime.feedback import Reasoning
from lager_onnx.runtime.prepared import Prepared
from lager_onnx.runtime.repeats import Repeats
from lager_onnx.runtime.session import open_session
from support.labelled import labelled

RECORD = {"instruction": "Name a prime.", "response": "good"}
TEXTS = ["good", "bad", "ok", "the answer is good", "good", "bad", "good"]


pytestmark = pytest.mark.usefixtures("cache")


class NoisyEngine:
    """A judge's engine whose scores differ every time, in the seventh digit, and which counts prompts."""

    def __init__(self, engine: Any):
        self._engine, self.asked, self._random = engine, list[list[int]](), np.random.default_rng(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def _with_noise(self, outputs: Outputs | None) -> Outputs | None:
        if outputs is None:
            return None
        return {name: array * np.float32(1 + 1e-6 * self._random.random()) for name, array in outputs.items()}

    def submit(self, prompts: list[list[int]], batch_tokens: int | None = None) -> Graded:
        self.asked += [prompt for prompt in prompts if prompt]
        graded = self._engine.submit(prompts, batch_tokens)
        return Graded(self._with_noise(outputs) for outputs in graded)

    def write(self, texts: Sequence[Text]) -> Iterator[Any]:
        self.asked += [text.prompt for text in texts]
        return self._engine.write(texts)


@pytest.fixture(params=["cores", "batches"])
def noisy(request: pytest.FixtureRequest, tiny_judge: Path) -> Judge:
    judge = Judge.load(tiny_judge, device="cpu", threads=2)
    if request.param == "batches":
        judge._engine.close()
        session = open_session(tiny_judge / "model.onnx", device="cpu").session
        judge._engine = BatchEngine([session], "CPUExecutionProvider", batch_tokens=128)
    judge._engine = NoisyEngine(judge._engine)
    return judge


def records(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [RECORD | {"response": text} for text in texts]


@pytest.mark.parametrize("batch_tokens", [None, 1])  # with 1, every record is a window
def test_the_same_text_has_the_same_bits_and_runs_once(noisy: Judge, batch_tokens: int | None) -> None:
    grades = noisy.score(records(TEXTS), batch_tokens=batch_tokens)
    assert len(noisy._engine.asked) == len(set(TEXTS))  # type: ignore[attr-defined]
    for text, grade in zip(TEXTS, grades, strict=True):
        first = grades[TEXTS.index(text)]
        assert (grade.score, grade.layer_logits.tobytes()) == (first.score, first.layer_logits.tobytes())
        assert grade.distribution.tobytes() == first.distribution.tobytes()
    assert len({grade.score for grade in grades}) == len(set(TEXTS))
    grades[0].layer_logits[:] = 0  # belongs to one grade alone
    assert grades[4].layer_logits.any()


def test_errors_keep_their_places_among_repeats(noisy: Judge) -> None:
    given: list[Any] = records(["good", "", "bad", "good"])
    given.insert(2, RecordError("not read"))
    found = list(noisy.score_stream(given + given[:2], batch_tokens=1))
    wrong = [number for number, each in enumerate(found) if isinstance(each, RecordError)]
    assert wrong == [1, 2, 6]
    scores = [each.score for each in found if not isinstance(each, RecordError)]
    assert scores[0] == scores[2] == scores[3] != scores[1]
    with pytest.raises(RecordError, match="record 2: "):
        noisy.score([*records(["good", "good"]), RECORD | {"response": ""}])


def test_what_is_kept_of_a_run_is_bounded() -> None:
    one = {"score": np.zeros(1000, np.float32)}
    repeats, asked = Repeats(most_bytes=10 * 5100), 0
    for number in [*range(100), 99, 98, 0]:
        window, slots = repeats.once([Prepared([number])])
        asked += bool(window[0].ids)
        (found,) = repeats.shared(slots, [one if window[0].ids else None])
        assert isinstance(found, dict)
        assert repeats._bytes == sum(5024 for _ in repeats._slots) <= 10 * 5100
    assert asked == 101  # 99 and 98 are known, 0 is forgotten


def _score(number: float) -> Outputs:
    return {"score": np.array([number], np.float32)}


def test_a_repeat_that_is_under_way_is_not_forgotten() -> None:
    """Two windows are under way at once: what the second one waits for may not be dropped meanwhile."""
    repeats = Repeats(most_bytes=1)
    first, second = (repeats.once([Prepared([1]), Prepared([n])]) for n in (2, 3))
    found = list(repeats.shared(first[1], [_score(1), _score(2)]))
    found += repeats.shared(second[1], [None, _score(3)])
    assert [float(each["score"][0]) for each in found if isinstance(each, dict)] == [1, 2, 1, 3]


def test_feedback_is_written_once_for_the_same_record(writing_judge: Path) -> None:
    judge = Judge.load(writing_judge, device="cpu", threads=2)
    judge._engine = NoisyEngine(judge._engine)
    for reasoning in (Reasoning(max_tokens=4), Reasoning(max_tokens=4, samples=2, temperature=1.0)):
        grades = judge.score(records(TEXTS[:5]), reasoning=reasoning)
        assert (grades[4].feedback, grades[4].score) == (grades[0].feedback, grades[0].score)
        alone = judge.score(records(["good"]), reasoning=reasoning)
        assert alone[0].feedback == grades[0].feedback  # as if it were the only one
    assert len(judge._engine.asked) == 4 + 1 + 2 * (4 + 1)


def test_scores_that_differ_by_noise_are_equal() -> None:
    width = 4.0
    random = np.random.default_rng(0)
    true = random.permutation(np.repeat(np.linspace(1, 5, 40), 5))
    scores = true + random.uniform(0, 0.9 * NOISE * width, len(true))
    found = without_noise(scores, width)
    assert (np.unique(found, return_inverse=True)[1] == np.unique(true, return_inverse=True)[1]).all()
    assert np.abs(found - scores).max() <= NOISE * width
    apart = np.array([1.0, 1 + 2 * NOISE * width, 3.0])
    assert without_noise(apart, width).tolist() == apart.tolist()
    assert without_noise(np.array([]), width).size == 0


def test_many_close_scores_do_not_become_one() -> None:
    scores = np.random.default_rng(0).permutation(np.linspace(1, 5, 1_000_001)[:100_000])
    found = without_noise(scores, 4.0)
    assert np.abs(found - scores).max() <= NOISE * 4 * (1 + 1e-9)
    assert len(np.unique(found)) >= 0.4 / (NOISE * 4) * 0.9
    assert spearmanr(found, scores).statistic > 0.9999


def noisy_data(true: np.ndarray, labels: np.ndarray) -> Labelled:
    """A judge of which all layers say `true`, a share of the scale, but for noise."""
    random = np.random.default_rng(1)
    margins = true[:, None] * (1 + 1e-7 * random.random((len(true), 4)))
    logits = np.stack([0 * margins, margins], axis=-1)
    return Labelled(logits, labels, np.array([0.0, 1.0]))


def test_figures_count_noise_as_ties() -> None:
    random = np.random.default_rng(2)
    true = random.integers(0, 6, 200).astype(float)
    labels = (random.random(200) + true / 6) / 2
    data = noisy_data(true, labels)
    exact = 1 / (1 + np.exp(-true))
    figures = beside_baselines(data, list(map(str, range(200))), data.uniform(), {}, resamples=5)[3].figures
    assert figures["spearman"].value == pytest.approx(spearmanr(exact, labels).statistic, abs=1e-12)
    assert figures["kendall"].value == pytest.approx(kendalltau(exact, labels).statistic, abs=1e-12)
    assert figures["pearson"].value == pytest.approx(pearsonr(exact, labels).statistic, abs=1e-6)


def test_constant_scores_have_no_correlation_anywhere() -> None:
    labels = np.tile([0.0, 0.5, 1.0], 10)
    data = noisy_data(np.ones(30), labels)
    found = beside_baselines(data, list(map(str, range(30))), data.uniform(), {}, resamples=20)
    for row in found:
        assert all(math.isnan(row.figures[name].value) for name in ("spearman", "kendall", "pearson")), row.method
        assert row.distinct == 1
        assert row.lead is None or math.isnan(row.lead.value)
    assert "nan" not in as_text(found)
    assert "none" in as_text(found)
    assert json.loads(as_json(found))[0]["spearman"] == {"value": None, "low": None, "high": None}
    assert next(csv.DictReader(as_csv(found).splitlines()))["spearman"] == ""
    assert choose(data, list(map(str, range(30)))).how == "uniform"
    loss, gradient = Loss()(np.zeros(4), data)
    assert loss == pytest.approx(1)
    assert not gradient.any()


def test_there_is_no_interval_with_few_groups() -> None:
    scores, labels = np.arange(40.0), np.arange(40.0)
    few, enough = ([str(row % count) for row in range(40)] for count in (LEAST_GROUPS - 1, LEAST_GROUPS))
    found = (
        Resamples.of_groups(few).sample(lambda rows: float(np.abs(scores[rows] - labels[::-1][rows]).mean())).interval
    )
    assert (found.value, math.isnan(found.low), math.isnan(found.high), found.known) == (20, True, True, False)
    assert str(found) == "20.000 (no interval)"
    assert Resamples.of_groups(enough).sample(lambda rows: float(scores[rows].mean())).interval.known


def test_an_interval_of_the_few_resamples_that_have_a_figure_is_none() -> None:
    """One record of thirty differs: a third of the resamples lack it, and have no correlation."""
    scores = np.zeros(30)
    scores[3] = 1
    figure = Resamples.of_groups(list(map(str, range(30)))).sample(
        lambda rows: float(scores[rows].std()) if np.ptp(scores[rows]) else math.nan
    )
    assert 0.2 < np.isnan(figure.drawn).mean() < 0.5
    assert not figure.interval.known


def test_every_output_says_that_there_is_no_interval(tiny_judge: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in labelled(LEAST_GROUPS - 1)))
    files = {end: tmp_path / f"out.{end}" for end in ("json", "csv", "html")}
    options = [part for end, file in files.items() for part in (f"--{end}", str(file))]
    done = CliRunner().invoke(main, ["evaluate", str(tiny_judge), str(path), "--device", "cpu", *options])
    assert done.exit_code == 0, done.output
    said = f"fewer than {LEAST_GROUPS} groups"
    assert said in done.stdout
    assert "[" not in done.stdout
    assert "nan" not in done.stdout.lower()
    assert said in files["html"].read_text()
    assert "(no interval)" in files["html"].read_text()
    for row in json.loads(files["json"].read_text()):
        assert row["groups"] == LEAST_GROUPS - 1
        assert {row["mae"]["low"], row["mae"]["high"]} == {None}
        assert row["mae"]["value"] > 0
    for line in csv.DictReader(files["csv"].read_text().splitlines()):
        assert (line["mae_low"], line["lead_high"]) == ("", "")
        assert float(line["mae"]) > 0
    judge = Judge.load(tiny_judge, device="cpu")
    both = compare([("one", judge), ("other", judge)], labelled(LEAST_GROUPS - 1))
    assert both[1].lead is not None
    assert (both[1].lead.value, both[1].lead.known) == (0, False)
    tuned = tune(judge, labelled(LEAST_GROUPS - 1), calibrate=True)
    assert not tuned.estimate.helps
    assert f"cannot be told from {LEAST_GROUPS - 1} groups" in tuned.describe()
    assert "nan" not in tuned.describe()
    assert tuned.learned.how == "uniform"


def test_twelve_copies_of_a_record_say_nothing(tiny_judge: Path) -> None:
    judge = Judge.load(tiny_judge, device="cpu")
    judge._engine = NoisyEngine(judge._engine)
    same = [RECORD | {"human_score": number % 5 + 1} for number in range(12)]
    for row in evaluate(judge, same, resamples=20):
        assert math.isnan(row.figures["spearman"].value)
        assert not row.figures["mae"].known  # one group
        assert row.distinct == 1
