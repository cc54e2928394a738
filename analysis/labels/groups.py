"""Splits records so that those of one group stay together."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lager_onnx.models.errors import LabelError
from lager_onnx.models.values import is_missing, plain

Rows = npt.NDArray[np.intp]


def group_name(value: Any) -> str | None:
    """Return the name of a group; None for a missing value, which names none.

    A whole number is one group in every form: 1, 1.0 (as pandas has it in a column with gaps) and "1" (as CSV has it).
    0 and false are groups. Other text is taken as it is, without the white space around it: "1.0" and "01" are others.
    """
    value = plain(value)
    if is_missing(value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, list | dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return str(value).strip()


def rows_by_group(groups: Sequence[str]) -> dict[str, list[int]]:
    """Row numbers of every group, in the order in which groups first come."""
    members: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[group].append(row)
    return members


def group_folds(groups: Sequence[str], folds: int, *, seed: int = 0) -> list[tuple[Rows, Rows]]:
    """Training and test rows of every fold; every row is tested once, and no group is on both sides.

    Groups are shuffled, then the largest go first, each to the fold that has fewest rows.

    Raises:
        LabelError: fewer groups than folds.
    """
    members = rows_by_group(groups)
    if len(members) < folds:
        raise LabelError(f"{len(members)} groups of records cannot be split into {folds} folds: label more responses")
    names = sorted(members)
    np.random.default_rng(seed).shuffle(names)
    parts: list[list[int]] = [[] for _ in range(folds)]
    for name in sorted(names, key=lambda name: -len(members[name])):
        min(parts, key=len).extend(members[name])
    every = np.arange(len(groups))
    return [(np.setdiff1d(every, part), np.sort(np.asarray(part, dtype=np.intp))) for part in parts]
