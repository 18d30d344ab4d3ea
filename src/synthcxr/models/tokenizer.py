"""A tokenizer of the field's own words, in CLIP's file format."""

import json
from importlib.resources import files
from itertools import product
from typing import Any

from synthcxr.prompts import NO_FINDING, Subject, write_prompt

VOCABULARY_SIZE = 2048
START, END = "<|startoftext|>", "<|endoftext|>"
FINDINGS = (
    NO_FINDING, "Pneumonia", "Bacterial pneumonia", "Viral pneumonia", "Infiltration", "Atelectasis", "Edema",
    "Effusion", "Consolidation", "Pleural_Thickening", "Nodule", "Mass", "Cardiomegaly", "Pneumothorax", "Fibrosis",
    "Emphysema", "Hernia", "Lung Opacity", "Lung Lesion", "Enlarged Cardiomediastinum", "Fracture", "Support Devices",
)  # fmt: skip


def corpus() -> list[str]:
    """What the vocabulary is learnt from: the terms, several times over, and prompts of all ages, sexes and views."""
    text = (files("synthcxr.models") / "terms.txt").read_text(encoding="utf-8")
    terms = [line for line in text.splitlines() if not line.startswith("#")]
    prompts = [
        write_prompt(Subject(age=age, sex=sex, view=view, findings=(FINDINGS[age % len(FINDINGS)],)))
        for age, sex, view in product(range(100), ("M", "F", None), ("AP", "PA", None))
    ]
    words = [word for line in terms for word in line.split()] * 20
    return terms * 20 + words + prompts


def build_tokenizer() -> Any:
    """Learn the byte-pair vocabulary and give it as a `CLIPTokenizer`; the same vocabulary at every call."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    backend = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_regex(pattern), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        min_frequency=2,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    backend.train_from_iterator(corpus(), trainer)
    learnt = json.loads(backend.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in learnt["merges"]]
    # Every byte also ends a word, as in CLIP, so that no text is outside the vocabulary.
    pieces = [
        *alphabet,
        *(byte + "</w>" for byte in alphabet),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def _regex(pattern: str) -> Any:
    from tokenizers import Regex

    return Regex(pattern)
