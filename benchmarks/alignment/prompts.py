"""Which prompt: chosen on one half of the groups, reported on the other."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from logits import Graded
from plan import DEFAULT

from lager_onnx.analysis.evaluation.metrics import Resamples, Sampled, spearman_of_rows
from lager_onnx.models.layers import Lens

_LENSES: Final[tuple[Lens, ...]] = ("raw", "norm")
Key = tuple[str, Lens]


def prompt_tables(graded: Sequence[Graded]) -> Iterator[str]:
    """Spearman of uniform weights for every prompt, lens, judge and set, as Markdown.

    Rows stand in the order of their mean on the first half; the columns with intervals are of the other one.
    """
    if not graded:
        return
    columns = list(dict.fromkeys((each.data, each.judge) for each in graded))
    halves = [{each: _by_prompt(graded, *each, half) for each in columns} for half in (0, 1)]
    keys = [key for key in halves[0][columns[0]] if all(key in halves[0][column] for column in columns)]
    means = [{key: _mean([half[column][key] for column in columns]) for key in keys} for half in halves]
    default = (DEFAULT.name, _LENSES[0])
    yield "## Prompts: uniform weights, Spearman (95% interval)\n"
    names = " | ".join(f"{data}, {judge}" for data, judge in columns)
    yield f"| prompt, lens | mean, first half | mean, other half | lead over `direct`, raw | {names} |"
    yield "|---|---|---|---|" + "---|" * len(columns)
    for key in sorted(keys, key=lambda key: -means[0][key].value):
        prompt, lens = key
        cells = [means[0][key].interval, means[1][key].interval, (means[1][key] - means[1][default]).interval]
        cells += [halves[1][column][key].interval for column in columns]
        yield f"| `{prompt}`, {lens} | " + " | ".join(map(str, cells)) + " |"
    yield ""


def _by_prompt(graded: Sequence[Graded], data: str, judge: str, half: int) -> dict[Key, Sampled]:
    """Agreement of one judge on half of a set. Resamples are the same for every prompt, so that they can be paired."""
    found = {}
    column = [each for each in graded if (each.data, each.judge) == (data, judge)]
    common = set.intersection(*(set(each.groups) for each in column))
    for each in column:
        part = each.of_groups(_half(common, half))
        resamples = Resamples.of_groups(part.groups)
        for lens in _LENSES:
            scores = part.labelled.scores(part.labelled.uniform(lens))
            sampled = resamples.sample(spearman_of_rows(scores, part.labelled.labels))
            # A judge that always says the same agrees with nothing.
            found[each.prompt, lens] = Sampled(float(np.nan_to_num(sampled.value)), np.nan_to_num(sampled.drawn))
    return found


def _half(groups: set[str], half: int) -> set[str]:
    names = sorted(groups)
    np.random.default_rng(0).shuffle(names)
    return set(names[half::2])


def _mean(sampled: Sequence[Sampled]) -> Sampled:
    """Over judges and sets, as they are: others would differ, too, so its interval is too narrow for these."""
    values, drawn = zip(*((each.value, each.drawn) for each in sampled), strict=True)
    return Sampled(float(np.mean(values)), np.mean(drawn, axis=0))
