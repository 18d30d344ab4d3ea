"""Reports to prompts: lengths, styles, tokens, files."""

import random
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr.data.records import Record, RejectedImageError
from synthcxr.data.reports import NoPrompt, Prompt, load_report, prompt_of
from synthcxr.data.reports.deidentification import LEFT_OVER, blank
from synthcxr.data.reports.sections import read_sections
from synthcxr.data.reports.sentences import split_sentences
from synthcxr.data.reports.tokens import TokenCounter, token_counter
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.models.registry import BUNDLED
from synthcxr.prompts import Subject, drop_from_prompt
from tests.data.recipes import recipe

MAN = Subject(age=58, sex="M", view="PA")


@pytest.fixture(scope="module")
def counter() -> TokenCounter:
    return token_counter()


REPORT = """FINDINGS: Heart size is normal. No pneumothorax. Left effusion. The XXXX are intact.
IMPRESSION: 1. Left effusion. 2. No pneumothorax."""


def prompt(record: Record, style: Any, counter: TokenCounter, limit: int = 77, seed: int = 0) -> Prompt | NoPrompt:
    return prompt_of(record, style, "drop", counter, limit, random.Random(seed))


def text_of(result: Prompt | NoPrompt) -> str:
    assert isinstance(result, Prompt), result
    return result.text


def test_styles(counter: TokenCounter) -> None:
    record = Record("a", subject=Subject(age=58, sex="M", view="PA", findings=("Effusion", "Mass")), report=REPORT)
    head = "PA chest X-ray of a 58-year-old man"
    assert text_of(prompt(record, "structured", counter)) == f"{head} with effusion and mass."
    assert text_of(prompt(record, "labels", counter)) == "effusion, mass"
    findings = f"{head}. Heart size is normal. No pneumothorax. Left effusion."
    assert text_of(prompt(record, "findings", counter)) == findings
    assert text_of(prompt(record, "impression", counter)) == f"{head}. Left effusion. No pneumothorax."


def test_what_tells_least_goes_first(counter: TokenCounter) -> None:
    record = Record("a", subject=MAN, report=REPORT)
    whole = prompt(record, "findings", counter)
    for limit in range(counter(text_of(whole)) - 1, 20, -1):
        result = prompt(record, "findings", counter, limit)
        if isinstance(result, NoPrompt):
            assert result.rule == "prompt too long"
            continue
        assert "Left effusion." in result.text and counter(result.text) <= limit
        assert result.dropped["does not fit"] >= 1


def test_a_finding_left_unsaid_is_counted(counter: TokenCounter) -> None:
    result = prompt(
        Record("a", report="A mass of 5 XXXX. The effusion has resolved. Heart normal."), "findings", counter
    )
    assert isinstance(result, Prompt) and result.unsaid == 1
    whole = prompt(Record("a", report="Left mass. Heart size is stable."), "findings", counter)
    assert isinstance(whole, Prompt) and whole.unsaid == 0


def test_a_mixture_takes_each_style_by_its_seed(counter: TokenCounter) -> None:
    record = Record("a", subject=Subject(age=58, sex="M", view="PA", findings=("Effusion",)), report=REPORT)
    results = [prompt(record, "mixture", counter, seed=seed) for seed in range(60)]
    styles = Counter(result.style for result in results if isinstance(result, Prompt))
    assert set(styles) == {"structured", "labels", "findings", "impression"} and min(styles.values()) > 5
    assert results == [prompt(record, "mixture", counter, seed=seed) for seed in range(60)]
    assert any(text_of(result).startswith("Chest X-ray of") for result in results)


@pytest.mark.parametrize(
    ("record", "style", "rule"),
    [
        (Record("a"), "findings", "no report"),
        (Record("a"), "labels", "no labels"),
        (Record("a", report="INDICATION: cough."), "impression", "no section"),
        (Record("a", report="FINDINGS: The XXXX are intact."), "findings", "no sentence"),
    ],
)
def test_no_prompt_has_a_reason(record: Record, style: str, rule: str, counter: TokenCounter) -> None:
    result = prompt(record, style, counter)
    assert isinstance(result, NoPrompt) and result.rule == rule and "intact" not in result.reason


def test_a_section_that_is_not_there(counter: TokenCounter) -> None:
    result = prompt(Record("a", report="IMPRESSION: Edema."), "findings", counter)
    assert isinstance(result, Prompt) and result.section == "impression" and result.style == "findings"


def test_a_sources_own_text_is_kept(counter: TokenCounter) -> None:
    own = prompt(Record("a", text="a chest x-ray"), "structured", counter)
    assert isinstance(own, Prompt) and (own.text, own.style) == ("a chest x-ray", "text")
    long = prompt(Record("a", text="Mild edema. " * 40 + "Left mass."), "findings", counter)
    assert text_of(long) == "Mild edema. Left mass."


def test_many_findings_fit(counter: TokenCounter) -> None:
    record = Record("a", subject=Subject(findings=("Pleural_Thickening", "Consolidation") * 30))
    for style in ("structured", "labels"):
        result = prompt(record, style, counter)
        assert isinstance(result, Prompt) and counter(result.text) <= 77 and result.dropped["does not fit"] > 10


def test_spanish_is_kept_as_it_is(counter: TokenCounter) -> None:
    report = " cardiomegali . sin cambi respect estudi previ . no derram pleural ."
    record = Record("a", report=report, language="es", subject=Subject(view="PA", findings=("Cardiomegaly",)))
    assert text_of(prompt(record, "findings", counter)) == "PA chest X-ray. Cardiomegali. No derram pleural."
    assert text_of(prompt(record, "labels", counter)) == "cardiomegaly"
    whole = Record("a", language="es", report="Hallazgos: Cardiomegalia. Comparado con previo, igual. Sin derrame.")
    assert text_of(prompt(whole, "findings", counter)) == "Chest X-ray. Cardiomegalia. Sin derrame."


HOSTILE = ("FINDINGS ", "a: ", "XXXX ", "no stable ", "compared to prior ", "unchanged and ", "____", "((", "1. ",
           "PA lateral ", ", unchanged", "XXXX, ", "Mild. ", "is stable in size ", "new better ")  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_ends(piece: str, counter: TokenCounter) -> None:
    """Patterns that go back and forth would take hours here."""
    for text in (piece * (19_000 // len(piece)), piece * (590 // len(piece))):
        prompt(Record("a", report=text), "findings", counter)


def test_a_book_is_no_report(counter: TokenCounter) -> None:
    result = prompt(Record("a", report="a" * 20_001), "findings", counter)
    assert isinstance(result, NoPrompt) and result.rule == "report too long"


SENTENCES = st.sampled_from(
    ("No effusion.", "Stable cardiomegaly.", "The XXXX are clear.", "Left opacity, XXXX atelectasis.", "Edema!",
     "There is a 1.5 cm nodule in the [**Location**] lobe.", "Told Dr. ___.", "1. No mass. 2. Scar.",
     "Small ___ effusion unchanged from ___.", "Heart size is normal", "IMPRESSION:", "FINDINGS:", "Chest: tube.")
)  # fmt: skip


@settings(max_examples=150)
@given(
    sentences=st.lists(SENTENCES, max_size=25),
    limit=st.integers(12, 90),
    style=st.sampled_from(("findings", "impression", "mixture")),
    priors=st.sampled_from(("drop", "keep")),
)
def test_properties_of_prompts(
    sentences: list[str],
    limit: int,
    style: Literal["findings", "impression", "mixture"],
    priors: Literal["drop", "keep"],
    counter: TokenCounter,
) -> None:
    report = "\n".join(sentences)
    result = prompt_of(Record("a", report=report, subject=MAN), style, priors, counter, limit, random.Random(0))
    if isinstance(result, NoPrompt):
        assert result.rule and result.reason
        return
    assert counter(result.text) <= limit
    assert not LEFT_OVER.search(result.text)
    sections = read_sections(report)
    originals = {s for part in (sections.findings, sections.impression) for s in split_sentences(blank(part))}
    for sentence in result.sentences:
        assert sentence.original in originals
        assert sentence.text == sentence.original or sentence.rules
        assert sentence.text in result.text


# Tokens


def test_tokens_are_the_tokenizers_own(counter: TokenCounter) -> None:
    from transformers import CLIPTokenizer

    theirs = CLIPTokenizer.from_pretrained(counter.folder)
    for text in ("", "PA chest X-ray.", "Small left effusion, 1.5 cm; atelectasis?", "Sin derrame á.", "edema " * 99):
        assert counter(text) == len(theirs(text).input_ids)
    assert counter.limit == theirs.model_max_length == 77


def test_older_tokenizer_files_count_alike(counter: TokenCounter, tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((counter.folder / name).read_bytes())
    assert TokenCounter(tmp_path, 77)("Small left effusion.") == counter("Small left effusion.")


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        token_counter("nothing-there")
    with pytest.raises(SynthCXRError, match=r"someone/model: the network is switched off"):
        token_counter("someone/model")
    shutil.copytree(BUNDLED, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    assert token_counter(str(tmp_path / "model"))("") == 2
    shutil.rmtree(tmp_path / "model" / "tokenizer")
    with pytest.raises(SynthCXRError, match=r"The tokenizer in .* cannot be read"):
        token_counter(str(tmp_path / "model"))


# Files and training


def test_report_files(tmp_path: Path) -> None:
    root = tmp_path / "source"
    root.mkdir()
    (root / "a.txt").write_bytes("\ufeffFINDINGS: Ödem.\x07".encode())
    (root / "b.txt").write_bytes("Ödem".encode("latin-1"))
    (root / "big.txt").write_bytes(b"a" * 300_000)
    (root / "binary.txt").write_bytes(b"a\0b")
    (tmp_path / "outside.txt").write_text("secret")
    assert load_report(root, Record("x", report_file="a.txt")).report == "FINDINGS: Ödem. "
    assert load_report(root, Record("x", report_file="b.txt")).report == "Ödem"
    assert load_report(root, Record("x")).report == ""
    for name in ("big.txt", "binary.txt", "missing.txt", "../outside.txt"):
        with pytest.raises(RejectedImageError):
            load_report(root, Record("x", report_file=name))


def test_training_keeps_a_reports_sentences() -> None:
    fields = {"age": 58, "sex": "M", "view": "PA", "findings": ["Effusion"]}
    text = "PA chest X-ray of a 58-year-old man. Left effusion."
    rng = random.Random(0)
    dropped = {drop_from_prompt(text, {**fields, "prompt_style": "findings"}, 0.5, rng) for _ in range(50)}
    assert len(dropped) > 5 and all(prompt.endswith(". Left effusion.") for prompt in dropped)
    assert "Chest X-ray. Left effusion." in dropped
    assert drop_from_prompt("effusion", {**fields, "prompt_style": "labels"}, 1.0, rng) == "effusion"
    for style in ({}, {"prompt_style": None}, {"prompt_style": "structured"}):
        assert drop_from_prompt(text, {**fields, **style}, 1.0, rng) == "Chest X-ray."


# The Indiana collection


@pytest.mark.real
def test_indiana_reports(shared_data: Path, counter: TokenCounter) -> None:
    """Every 25th report gives a prompt or has a reason; the recipe does the same on all and prints the counts."""
    archive = shared_data / "openi" / "NLMCXR_reports.tgz"
    if not archive.is_file():
        pytest.skip("the reports of the Indiana collection are not in ../shared/data")
    negex = recipe("negex")
    outcomes: Counter[str] = Counter()
    with tarfile.open(archive) as files:
        for index, member in enumerate(files):
            content = files.extractfile(member) if index % 25 == 0 and member.isfile() else None
            if content is None:
                continue
            sections = {s.get("Label"): (s.text or "").strip() for s in ElementTree.parse(content).iter("AbstractText")}
            report = "\n\n".join(f"{label}: {text}" for label, text in sections.items())
            result = prompt(Record(member.name, report=report, subject=MAN), "findings", counter)
            if isinstance(result, NoPrompt):
                outcomes[result.rule] += 1
                assert result.rule == "no sentence" or not (sections["FINDINGS"] or sections["IMPRESSION"])
                continue
            outcomes[result.section] += 1
            body = " ".join(sentence.text for sentence in result.sentences)
            assert counter(result.text) <= 77 and not LEFT_OVER.search(body)
            source = sections["FINDINGS"] + ". " + sections["IMPRESSION"]
            assert not negex.turned_round(source, body) and not negex.never_named(source, body), member.name
    assert outcomes["findings"] > 100 and sum(outcomes.values()) > 150
