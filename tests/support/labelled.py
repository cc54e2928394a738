"""Makes labelled records, each a group."""

from typing import Any


def labelled(number: int, *, label: int = 0) -> list[dict[str, Any]]:
    return [
        {"instruction": "Name a prime.", "response": f"good {'bad ' * row}", "human_score": 1 + (row + label) % 5}
        for row in range(number)
    ]
