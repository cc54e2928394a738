"""Prints the results of `lager score` as a table.

python samples/table.py results.jsonl
"""

import json
import sys
from pathlib import Path

ROW = "{:<10} {:<22} {:>6}  {:<12} {}"
print(ROW.format("id", "criterion", "score", "", "response"))
for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
    row = json.loads(line)
    rubric = row.get("criterion") or row.get("rubric", {}).get("name", "overall")
    bars = "".join(" ▁▂▃▄▅▆▇█"[round(8 * share)] for share in row["probabilities"].values())
    response = " ".join(row["response"].split())
    print(ROW.format(row["id"], rubric, f"{row['score']:.2f}", f"│{bars}│", response[:50]))
