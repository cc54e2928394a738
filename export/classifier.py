"""What transformers' and optimum's classifiers want to find in a judge's folder beside the graph.

A judge's `logits` are those of a sequence classifier whose classes are the scores, so that
`ORTModelForSequenceClassification.from_pretrained` loads the folder.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lager_onnx.models.spec import CONFIG_FILE, TOKENIZER_CONFIG_FILE, JudgeSpec


def write_classifier_files(folder: Path, spec: JudgeSpec, config: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Writes config.json, with the scale's labels as classes, and tokenizer_config.json."""
    labels = spec.scale.labels
    config = config | {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    }
    about_tokens = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": spec.context_length,
        "padding_side": "right",  # of a prompt that is padded on the left, attention would be wrong
        "pad_token": _pad_token(config, tokenizer),
        "clean_up_tokenization_spaces": False,
    }
    for name, content in ((CONFIG_FILE, config), (TOKENIZER_CONFIG_FILE, about_tokens)):
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _pad_token(config: dict[str, Any], tokenizer: Tokenizer) -> str:
    """Any token does: no token attends to what stands on its right."""
    for name in ("pad_token_id", "eos_token_id"):
        found = config.get(name)
        for id_ in found if isinstance(found, list) else [found]:
            if isinstance(id_, int) and id_ >= 0 and (token := tokenizer.id_to_token(id_)):
                return str(token)
    return str(tokenizer.id_to_token(0))
