"""Prints the results of `lager score` on the samples as a table: pairs of a better response and a worse one.

python samples/table.py results.jsonl
"""

import json
import sys
from pathlib import Path

ROW = "{:<12} {:<22} {:>6}  {:<12} {}"
print(ROW.format("id", "criterion", "score", "", "response"))
scores = {}
for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
    row = json.loads(line)
    scores[row["id"]] = row["score"]
    rubric = row.get("criterion") or row.get("rubric", {}).get("name", "overall")
    bars = "".join(" ▁▂▃▄▅▆▇█"[round(8 * share)] for share in row["probabilities"].values())
    response = " ".join(row["response"].split())
    print(ROW.format(row["id"], rubric, f"{row['score']:.2f}", f"│{bars}│", response[:50]))
pairs = [(score, scores[f"{name[:-2]}-2"]) for name, score in scores.items() if name.endswith("-1")]
right = sum(better > worse for better, worse in pairs)
print(f"In {right} of {len(pairs)} pairs the better response has the higher score.")
