"""End to end with a real judge: SmolLM2-135M-Instruct."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from transformers import AutoModelForCausalLM

from lager_onnx import Judge
from lager_onnx.models.spec import JudgeSpec
from lager_onnx.runtime.decode import Decoder
from lager_onnx.runtime.prompts import PromptEncoder
from lager_onnx.runtime.records import read_rows
from lager_onnx.runtime.session import open_session, run_graph
from support.greedy import write_as_transformers

SAMPLE = Path(__file__).parents[1] / "samples" / "responses.jsonl"


@pytest.fixture(scope="module")
def judge(smollm2_judge: Path) -> Judge:
    return Judge.load(smollm2_judge, device="cpu")


def test_the_graph_keeps_its_contract(smollm2_judge: Path) -> None:
    graph = ir.load(smollm2_judge / "model.onnx").graph
    contract = {value.name: (value.dtype.name, [str(dim) for dim in value.shape]) for value in graph.inputs[:2]}
    assert contract == {
        "input_ids": ("INT64", ["batch", "sequence"]),
        "attention_mask": ("INT64", ["batch", "sequence"]),
    }
    # All that a faster graph needs on top has a default.
    assert all(value.name in graph.initializers for value in graph.inputs[2:])
    contract = {value.name: (value.dtype.name, [str(dim) for dim in value.shape]) for value in graph.outputs[:4]}
    assert contract == {
        "score": ("FLOAT", ["batch"]),
        "probabilities": ("FLOAT", ["batch", "5"]),
        "logits": ("FLOAT", ["batch", "5"]),
        "layer_logits": ("FLOAT", ["batch", "62", "5"]),
    }
    names = [value.name for value in graph.outputs[4:]]
    assert names[0] == "next_token_logits"
    assert names[1:3] == ["present.0.key", "present.0.value"]


def test_the_vocabulary_is_in_the_embedding_only(smollm2_judge: Path) -> None:
    graph = ir.load(smollm2_judge / "model.onnx").graph
    with_vocabulary = [name for name, value in graph.initializers.items() if 49152 in value.shape]
    assert with_vocabulary == ["model.embed_tokens.weight"]
    assert list(graph.initializers["lager.unembedding"].shape or ()) == [576, 5]
    made = [value.name for node in graph for value in node.outputs if 49152 in (value.shape or ())]
    assert made == ["next_token_logits"]
    # 134.5 million parameters, cosines and sines of 8,192 positions for 32 pairs of channels, and nothing twice
    expected = 4 * (134.515e6 + 2 * 8192 * 32)
    assert (smollm2_judge / "model.onnx_data").stat().st_size == pytest.approx(expected, rel=0.0005)


def test_layer_weights_are_inside_the_graph_file(smollm2_judge: Path) -> None:
    weights = ir.load(smollm2_judge / "model.onnx").graph.initializers["lager.layer_weights"].const_value
    assert not isinstance(weights, ir.ExternalTensor)
    np.testing.assert_allclose(weights.numpy(), JudgeSpec.load(smollm2_judge).layer_weights)


def test_parity_is_stored(smollm2_judge: Path) -> None:
    parity = JudgeSpec.load(smollm2_judge).parity
    assert parity is not None
    assert parity.layer_logits < 1e-4
    assert parity.score < 1e-3


def test_a_record_scores_the_same_whatever_batch_it_lands_in(judge: Judge) -> None:
    records = [row.record for row in read_rows(str(SAMPLE))][::2]
    random = np.random.default_rng(5)
    alone = np.array([judge.score([record])[0].score for record in records])
    for batch_tokens in (300, 1000, 100_000):
        order = random.permutation(len(records))
        mixed = [grade.score for grade in judge.score([records[i] for i in order], batch_tokens=batch_tokens)]
        np.testing.assert_allclose(mixed, alone[order], atol=1e-5)


def test_what_prompts_share_is_read_once_and_changes_no_score(judge: Judge, smollm2_judge: Path) -> None:
    criteria = ("correctness", "coherence", "relevance", "fluency", "conciseness")
    some = [row.record for row in read_rows(str(SAMPLE))][:4]
    records = [{**record, "criterion": name} for record in some for name in criteria]
    grades = judge.score(records)
    shared = np.array([grade.layer_logits for grade in grades])
    session = open_session(smollm2_judge / "model.onnx", device="cpu").session
    encoder = PromptEncoder(smollm2_judge, judge.spec)
    prompts = [encoder.ids(encoder.turns(record)) for record in records]
    alone = [run_graph(session, [ids]) for ids in prompts]
    expected = np.concatenate([outputs["layer_logits"] for outputs in alone])
    np.testing.assert_allclose(shared, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(
        [grade.score for grade in grades],
        np.concatenate([outputs["score"] for outputs in alone]),
        atol=1e-4,
    )


def test_the_judge_tells_good_from_bad_in_most_pairs(judge: Judge) -> None:
    """135 million parameters make a poor judge: the made-up summary is true to it, and beyond these it guesses."""
    records = [row.record for row in read_rows(str(SAMPLE))]
    scores = {record["id"]: grade.score for record, grade in zip(records, judge.score(records), strict=True)}
    pairs = [(name, f"{name.removesuffix('1')}2") for name in scores if name.endswith("-1")]
    assert len(pairs) == 10
    assert sum(scores[good] > scores[bad] for good, bad in pairs[:5]) >= 4


def test_it_writes_what_transformers_writes(judge: Judge, smollm2_judge: Path, smollm2_checkpoint: Path) -> None:
    records = [row.record for row in read_rows(str(SAMPLE))][:2]
    encoder = PromptEncoder(smollm2_judge, judge.spec)
    prompts = [encoder.opening_ids(encoder.turns(record)) for record in records]
    session = open_session(smollm2_judge / "model.onnx", device="cpu").session
    decoder = Decoder(session, slots=3, tokens=1024, chunk_tokens=256, packed=False)
    model = AutoModelForCausalLM.from_pretrained(
        smollm2_checkpoint.parent, gguf_file=smollm2_checkpoint.name, dtype=torch.float32
    ).eval()
    results, _ = write_as_transformers(decoder, model, prompts, 24)
    assert [len(result.tokens) for result in results] == [24, 24]


def test_a_layer_of_the_graph_has_few_nodes(smollm2_judge: Path) -> None:
    """12 and the one that takes the score position: what onnxruntime needs for a node is felt in small judges."""
    graph = ir.load(smollm2_judge / "model.onnx").graph
    assert len(list(graph)) <= 30 * 13 + 40


@pytest.mark.large
def test_8_bits_agree_with_float32(judge: Judge, smollm2_int8_judge: Path) -> None:
    agreement = JudgeSpec.load(smollm2_int8_judge).agreement
    assert agreement is not None
    assert agreement.score < 0.02
    assert agreement.spearman > 0.9
    records = [row.record for row in read_rows(str(SAMPLE))]
    eight_bits = Judge.load(smollm2_int8_judge, device="cpu")
    got, expected = ([grade.score for grade in each.score(records)] for each in (eight_bits, judge))
    assert np.abs(np.subtract(got, expected)).mean() < 0.02 * judge.spec.scale.width
    assert (smollm2_int8_judge / "model.onnx_data").stat().st_size < 0.28 * 540e6
