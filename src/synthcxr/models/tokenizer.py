"""A tokenizer of the field's own words, in CLIP's file format; and one without words, in Gemma's."""

from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import pairwise, product
from typing import Any

from synthcxr.prompts import NO_FINDING, Subject, write_prompt

VOCABULARY_SIZE = 2048
END_OF_WORD = "</w>"
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP splits text into words (Radford et al. 2021, its published code)."""
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
    from transformers import CLIPTokenizer

    vocabulary, merges = learn_vocabulary()
    return CLIPTokenizer(vocab=dict(vocabulary), merges=list(merges), model_max_length=77)


def build_byte_tokenizer() -> Any:
    """A `GemmaTokenizer` that has learned no words: every byte of a text is a token, behind one that starts it."""
    from tokenizers.processors import TemplateProcessing
    from transformers import GemmaTokenizer

    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = GemmaTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[])
    start = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)])
    tokenizer.backend_tokenizer.post_processor = start
    return tokenizer


@cache
def learn_vocabulary() -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, str], ...]]:
    """Byte-pair merges (Sennrich et al. 2016, algorithm 1) of the corpus, and the pieces with their ids.

    Ties go to the pair that comes first in the alphabet: the trainer of the tokenizers library breaks them at random.
    Every byte is a piece twice, plain and ending a word, as in CLIP, so that no text is outside the vocabulary.
    """
    from tokenizers import Regex, normalizers, pre_tokenizers

    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    split = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True), pre_tokenizers.ByteLevel(False)]
    )
    counts = Counter(word for line in corpus() for word, _ in split.pre_tokenize_str(normalizer.normalize_str(line)))
    words = {(*word[:-1], word[-1] + END_OF_WORD): count for word, count in counts.items()}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(byte + END_OF_WORD for byte in alphabet)]
    merges: list[tuple[str, str]] = []
    while len(pieces) + 2 < VOCABULARY_SIZE:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        merges.append(best)
        pieces.append("".join(best))
        words = {_merge(word, best): count for word, count in words.items()}
    found = dict.fromkeys([*pieces, START, END])
    return tuple((piece, index) for index, piece in enumerate(found)), tuple(merges)


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)
