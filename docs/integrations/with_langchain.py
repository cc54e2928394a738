"""langchain: typed questions to `lager serve` by `OpenAIDecisions`, as steps of a chain.

lager serve judges/decisions --model-name lager &
python docs/integrations/with_langchain.py http://127.0.0.1:8000/v1 records.jsonl
"""

import json
import sys
from pathlib import Path

from langchain_core.runnables import RunnableLambda
from langchain_openai.decisions import OpenAIDecisions, Predicate, Score


def main(url: str, records: str) -> None:
    """Asks two questions about every record, prints one line each."""
    questions = {
        "correct": Predicate(instructions="Is the answer correct?"),
        "quality": Score(instructions="How good is the answer?", levels=["poor", "fair", "good"]),
    }
    ask = RunnableLambda(
        lambda row: {"input": f"{row['instruction']}\n\nAnswer: {row['response']}", "questions": questions}
    )
    chain = ask | OpenAIDecisions(model="lager", base_url=url, api_key="none", max_retries=3)
    with Path(records).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for found in chain.batch(rows, config={"max_concurrency": 16}):
        quality = found.scores["quality"]
        print(json.dumps({"correct": found.predicates["correct"].probability, "quality": quality.score}))


if __name__ == "__main__":
    main(*sys.argv[1:])
