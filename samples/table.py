"""Print the results of `lager score` on the samples: ten pairs of a better response and a worse one, told apart or not.

    python samples/table.py results.jsonl

The pairs that the judge tells apart come first, the clearest of them at the top; then those that it gets wrong.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROW = "{:<10} {:<22} {:>6} {:<8} {:>6} {:<8} {:>6}  {}"
# README.md tells how it was found; nothing here computes it.
RECORDED = (
    "Recorded, not computed here: Qwen2.5-Coder-1.5B-Instruct tells 10 of the 10 apart (README.md); "
    "make demo JUDGE=qwen-1.5b grades with it."
)


def main(results: str) -> None:
    """Print the table, the count, and for a judge that gets pairs wrong, what a larger one was recorded to do."""
    with Path(results).open(encoding="utf-8") as lines:
        rows = {row["id"]: row for row in map(json.loads, lines)}
    pairs = [(rows[name], rows[f"{name[:-2]}-2"]) for name in rows if name.endswith("-1")]
    pairs.sort(key=_margin, reverse=True)
    right = [pair for pair in pairs if _margin(pair) > 0]
    labels = list(pairs[0][0]["probabilities"])
    scale = f"{labels[0]} to {labels[-1]}"
    print(ROW.format("pair", "criterion", "better", scale, "worse", scale, "by", "the better response"))
    for pair in right:
        print(_line(*pair))
    if wrong := pairs[len(right) :]:
        print("wrong:")
        for pair in wrong:
            print(_line(*pair))
    print(f"In {len(right)} of {len(pairs)} pairs the better response has the higher score.")
    if wrong:
        print(RECORDED)


def _margin(pair: tuple[dict[str, Any], dict[str, Any]]) -> float:
    better, worse = pair
    return float(better["score"] - worse["score"])


def _line(better: dict[str, Any], worse: dict[str, Any]) -> str:
    rubric = better.get("criterion") or better.get("rubric", {}).get("name", "overall")
    shown = [cell for row in (better, worse) for cell in (f"{row['score']:.2f}", _bars(row))]
    response = " ".join(better["response"].split())[:38].rstrip()
    return ROW.format(better["id"][:-2], rubric, *shown, f"{_margin((better, worse)):+.2f}", response).rstrip()


def _bars(row: dict[str, Any]) -> str:
    return "│" + "".join(" ▁▂▃▄▅▆▇█"[round(8 * share)] for share in row["probabilities"].values()) + "│"


if __name__ == "__main__":
    main(*sys.argv[1:])
