"""Direct grades (D) beside those with reasoning (R), on the same records."""

from collections.abc import Iterator, Sequence
from typing import Final

from figures import agreement
from logits import Graded
from plan import REASONING
from tables import size_of, table

from lager_onnx.analysis.evaluation.agreement import FIGURES
from lager_onnx.analysis.evaluation.methods import weighted
from lager_onnx.analysis.evaluation.metrics import Resamples, Sampled

_ROWS: Final = (
    "VScore (vanilla)", "E-Score (expectation)", "LAGER, raw", "LAGER, norm", "best single layer (oracle)",
    "time a record",
)  # fmt: skip


def reasoning_tables(graded: Sequence[Graded]) -> Iterator[str]:
    """For every set, two columns a judge: without reasoning, and with it."""
    direct, reasoned = (prompt.name for prompt in REASONING)
    by_key = {(each.data, each.judge, each.prompt): each for each in graded}
    for data in dict.fromkeys(each.data for each in graded):
        judges = sorted({judge for name, judge, prompt in by_key if (name, prompt) == (data, reasoned)}, key=size_of)
        pairs = [(by_key[data, judge, direct], by_key[data, judge, reasoned]) for judge in judges]
        if not pairs:
            continue
        columns = [f"{judge}, {kind}" for judge in judges for kind in "DR"]
        records, groups = len(pairs[0][0].groups), len(set(pairs[0][0].groups))
        yield f"## With reasoning: {data}, {records} records, {groups} groups\n"
        agreements = [agreement(each) for pair in pairs for each in pair]
        rows = {row: [cells[row] for cells in agreements] for row in _ROWS}
        rows["LAGER, raw, R less D"] = [cell for pair in pairs for cell in ("", _lead(*pair))]
        rows["grades that the judge named"] = [cell for _, each in pairs for cell in ("", f"{each.named.mean():.0%}")]
        yield from table(["Spearman (95% interval)", *columns], rows)


def _lead(direct: Graded, reasoned: Graded) -> str:
    resamples = Resamples.of_groups(direct.groups)

    def sample(each: Graded) -> Sampled:
        return resamples.sample(
            FIGURES["spearman"](weighted("", each.labelled, each.labelled.uniform()), each.labelled)
        )

    return str((sample(reasoned) - sample(direct)).interval)
