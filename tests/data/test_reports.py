"""The text of reports: sections, sentences, blanks, earlier images, negations."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr.data.reports.cleaning import clean
from synthcxr.data.reports.deidentification import blank, fill
from synthcxr.data.reports.negation import rank, stated
from synthcxr.data.reports.sections import read_sections
from synthcxr.data.reports.sentences import split_sentences
from tests.data.recipes import recipe


def said(text: str, **options: Any) -> str:
    return " ".join(sentence.text for sentence in clean(text, **options).sentences)


# Sections


MIMIC = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old man with cough  // pneumonia?

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  ___

 FINDINGS:

 There is a small left pleural
 effusion.  The heart is mildly enlarged.

 IMPRESSION:

 Small left effusion.
"""
MIMIC_WITHOUT_HEADING = """                                 FINAL REPORT
 CHEST RADIOGRAPH

 INDICATION:  Fever.

 COMPARISON:  ___.

 The lungs are hyperinflated.  No effusion.
"""


@pytest.mark.parametrize(
    ("report", "findings", "impression"),
    [
        (MIMIC, "There is a small left pleural\n effusion.  The heart is mildly enlarged.", "Small left effusion."),
        (MIMIC_WITHOUT_HEADING, "The lungs are hyperinflated.  No effusion.", ""),
        ("The lungs are clear.", "The lungs are clear.", ""),
        ("FINDINGS AND IMPRESSION: Clear lungs.", "Clear lungs.", "Clear lungs."),
        ("Findings: Clear lungs. Impression: Normal chest.", "Clear lungs.", "Normal chest."),
        ("Lungs clear IMPRESSION: Normal.", "Lungs clear", "Normal."),
        ("ADDENDUM: Call made.\nFINAL REPORT\nFINDINGS: Effusion.", "Effusion.", ""),
        ("WET READ: ___ Edema.\nFINAL REPORT\nIMPRESSION: No edema.", "", "No edema."),
        ("NARRATIVE: Large mass.\nSUMMARY: 2-ABNORMAL, POSSIBLE\nEND OF IMPRESSION:", "Large mass.", ""),
        ("**Findings:** Mass.\n**Conclusion:** Tumour.", "Mass.", "Tumour."),
        ("LUNGS: Clear.\nHEART: Large.", "Clear.\n\nLarge.", ""),
        ("FINDINGS: Lungs clear.\nLEFT KNEE: Fracture.\nIMPRESSION: Normal.", "Lungs clear.", "Normal."),
        ("Hallazgos: Derrame pleural.\nConclusión: Derrame.", "Derrame pleural.", "Derrame."),
        (" signos de epoc . conclusion . neumonia .", "signos de epoc", "neumonia ."),
        ("RECOMMENDATION: CT.\nFINDINGS: Nodule.", "Nodule.", ""),
        ("", "", ""),
    ],
)
def test_sections(report: str, findings: str, impression: str) -> None:
    sections = read_sections(report)
    assert (sections.findings, sections.impression) == (findings, impression)


def test_what_lies_beside_the_sections_is_noted() -> None:
    assert read_sections("ADDENDUM: x\nWET READ: y\nFINDINGS: z").notes == ("addendum", "wet read")


@given(st.text(alphabet="ABC abc:.\n_X1-/*", max_size=400))
def test_any_text_has_sections_and_sentences(text: str) -> None:
    sections = read_sections(text)
    for sentence in split_sentences(sections.findings):
        assert sentence == " ".join(sentence.split()) and sentence[-1] in ".?"


# Sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Seen by Dr. Smith today. Clear.", ["Seen by Dr. Smith today.", "Clear."]),
        ("A 1.5 cm nodule. Clear", ["A 1.5 cm nodule.", "Clear."]),
        ("1. Edema. 2. Small effusion.", ["Edema.", "Small effusion."]),
        ("1) Edema\n2) Effusion", ["Edema.", "Effusion."]),
        ("1.Edema. 2.No effusion of 2.5 cm.", ["Edema.", "No effusion of 2.5 cm."]),
        ("Fracture of rib 2. Clear.", ["Fracture of rib 2.", "Clear."]),
        ("Clear lungs.No effusion..", ["Clear lungs.", "No effusion."]),
        ("hard\nwrapped line. next one.", ["Hard wrapped line.", "Next one."]),
        ("One\n\nTwo", ["One.", "Two."]),
        ("- Edema\n- Mass", ["Edema.", "Mass."]),
        ("MILD EDEMA, PA VIEW.", ["Mild edema, PA view."]),
        ("Nodule vs. scar.", ["Nodule vs. scar."]),
        ("Pneumonia? Perhaps.", ["Pneumonia?", "Perhaps."]),
        ("  . .. 3 ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


# What was blacked out


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("There is a ___ nodule.", "There is a nodule."),
        ("Calcified lymph XXXX.", "Calcified lymph nodes."),
        ("XXXX sternotomy XXXX are seen.", "sternotomy wires are seen."),
        ("Blunted costophrenic XXXX.", "Blunted costophrenic angles."),
        ("Basal opacity, XXXX atelectasis.", "Basal opacity, likely atelectasis."),
        ("No XXXX of edema.", "No evidence of edema."),
        ("Seen by [**First Name**] [**Last Name**].", None),
        ("The XXXX are intact.", None),
        ("No XXXX airspace disease.", None),
        ("There is XXXX visualization of the bases.", None),
        ("A nodule of 5 XXXX.", None),
        ("Heart and XXXX are normal.", "Heart is normal."),
        ("Stable since ___.", "Stable."),
        ("Clear lungs.", "Clear lungs."),
    ],
)
def test_blacked_out_words(text: str, filled: str | None) -> None:
    assert fill(blank(text)) == filled


# Earlier images and what else is elsewhere


@pytest.mark.parametrize(
    ("sentence", "now"),
    [
        ("Stable cardiomegaly.", "Cardiomegaly."),
        ("Mild cardiomegaly, unchanged.", "Mild cardiomegaly."),
        ("The right effusion is unchanged.", "Right effusion."),
        ("There is again a left effusion.", "There is a left effusion."),
        ("Again seen is a hiatal hernia.", "Hiatal hernia."),
        ("The heart remains enlarged.", "The heart is enlarged."),
        ("Persistent basal atelectasis.", "Basal atelectasis."),
        ("Interval placement of a right PICC.", "Right PICC."),
        ("A nodule, not seen on the prior exam, is in the left apex.", "A nodule, is in the left apex."),
        ("Compared to ___, there is a new effusion.", "There is an effusion."),
        ("There is a ___ opacity.", "There is an opacity."),
        ("Opacity in the apex, recommend CT.", "Opacity in the apex."),
        ("PA and lateral views of the chest demonstrate a mass.", "Mass."),
        ("Heart size normal, mediastinum stable.", "Heart size normal."),
        ("Degenerative changes of the spine.", "Degenerative changes of the spine."),
        ("Findings of prior granulomatous disease.", "Findings of prior granulomatous disease."),
        ("Right greater than left effusions.", "Right greater than left effusions."),
        ("In the interval, an opacity has developed.", "An opacity is present."),
        ("Left opacity, not seen on the lateral view.", "Left opacity."),
        ("Effusions, with interval improvement.", "Effusions."),
        ("Heart size is stable.", ""),
        ("Unchanged.", ""),
        ("No change since the prior study.", ""),
        ("No new effusion.", ""),
        ("No increasing edema.", ""),
        ("The effusion has resolved.", ""),
        ("The pneumothorax is no longer seen.", ""),
        ("The chest tube has been removed.", ""),
        ("Improved aeration of the left lung.", ""),
        ("The effusion has decreased compared to the prior film.", ""),
        ("Clinical correlation is recommended.", ""),
        ("Discussed with Dr. ___ at 3 p.m.", ""),
        ("History of cough.", ""),
        ("PA and lateral views of the chest were obtained.", ""),
        ("On the lateral view there is a nodule.", ""),
        ("Better seen on CT.", ""),
    ],
)
def test_the_picture_alone(sentence: str, now: str) -> None:
    assert said(sentence) == now


def test_options_keep_what_they_say() -> None:
    text = "Stable cardiomegaly. On the lateral view there is a nodule. Discussed with Dr. ___."
    assert said(text, priors_kept=True) == "Stable cardiomegaly. On the lateral view there is a nodule."
    assert said(text, lateral_shown=True) == "Cardiomegaly. On the lateral view there is a nodule."


def test_a_sentence_goes_with_the_one_it_leans_on() -> None:
    assert said("On the lateral view there is a nodule. This may be a granuloma. Clear lungs.") == "Clear lungs."


def test_why_is_counted() -> None:
    cleaned = clean("Heart size is stable. The XXXX are intact. Clear lungs. Clear lungs.")
    assert cleaned.dropped == Counter({"only that an organ is unchanged": 1, "blacked-out words": 1, "said before": 1})


# Negation


@pytest.mark.parametrize(
    "sentence",
    [
        "No pneumothorax.",
        "No focal consolidation, effusion, or pneumothorax.",
        "Lungs clear without effusion.",
        "Negative for pneumothorax.",
        "Pneumothorax is not seen.",
        "There is neither effusion nor pneumothorax.",
        "The lungs are free of consolidation.",
    ],
)
def test_negated_findings_are_absent_and_stay_so(sentence: str) -> None:
    there, absent = stated(sentence)
    assert not there and absent
    assert said(sentence) == sentence


def test_what_is_there_and_what_is_not_in_one_sentence() -> None:
    there, absent = stated("Cardiomegaly without edema, but a small effusion is seen.")
    assert there == {"cardiomegaly", "effusion"} and absent == {"edema"}
    assert [rank(s) for s in ("Left effusion.", "Azygos lobe.", "No effusion.", "Heart size is normal.")] == [
        0,
        1,
        2,
        2,
    ]


FINDINGS = ("pneumothorax", "effusion", "edema", "cardiomegaly", "atelectasis", "consolidation", "nodule")
NEGATED = st.sampled_from(
    ("No {}.", "There is no {}.", "Clear without {}.", "Negative for {}.", "No new {}.", "The {} has resolved.",
     "No evidence of {} compared to the prior study.", "No XXXX {}.", "{} is no longer seen.", "Stable, no {}.",
     "No persistent {}, {} or {}.", "Interval resolution of {}.", "Unchanged, no {}.", "Prior {} is not identified.",
     "No {} since ___.", "No stable or increasing {}.", "The {} has been removed.", "___ is negative for {}.")
)  # fmt: skip


@given(st.lists(NEGATED, min_size=1, max_size=6), st.randoms())
def test_negated_stays_negated(templates: list[str], rng: random.Random) -> None:
    report = " ".join(t.format(*(rng.choice(FINDINGS) for _ in range(3))) for t in templates)
    negex = recipe("negex")
    assert not negex.turned_round(report, said(report)), said(report)
    assert not stated(said(report).replace(". ", ".\n"))[0]
