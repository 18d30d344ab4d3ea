"""What CLAIM and STARD-AI ask of a paper, and where this report helps: topics in our own words, nothing is ticked.

CLAIM: Tejani et al., Radiology: Artificial Intelligence 2024. STARD-AI: Sounderajah et al., Nature Medicine 2025.
"""

from dataclasses import dataclass

AUTHORS = "for the authors"


@dataclass(frozen=True)
class Item:
    """A topic, who asks for it, and where in the report there is something about it."""

    topic: str
    asked_by: str
    where: str = AUTHORS


BOTH = "CLAIM, STARD-AI"
ITEMS = (
    Item("Title and abstract say that it is a study of AI, and of which kind", BOTH),
    Item("Clinical background, intended use and role of the method", BOTH),
    Item("Aims and hypotheses", BOTH),
    Item("Prospective or retrospective; the study's goal", BOTH),
    Item("Where the data come from, and their terms", BOTH, "Data"),
    Item(
        "Eligibility: which images were taken and which left out",
        BOTH,
        "Data (counts and reasons; why is " + AUTHORS + ")",
    ),
    Item("Preprocessing", BOTH, "Data; Methods (of the extractors); Burned-in text"),
    Item("Removal of what names a person", "CLAIM", "Burned-in text; Privacy (how it was done is " + AUTHORS + ")"),
    Item("What was done about missing data", BOTH, "Data (rejected images); figures without a value say why"),
    Item("How images were acquired", BOTH),
    Item("Reference standard: its definition, its source, who annotated", BOTH),
    Item("How training, validation and test data were parted, and at which level", BOTH, "Data (by patient)"),
    Item("Patients of the test data in the training data", "STARD-AI", "Warnings; Privacy"),
    Item("Sample size and how it was chosen", BOTH, "N at every figure; Realism (images needed); why is " + AUTHORS),
    Item("Model: architecture, inputs, outputs, version", BOTH, "Where it comes from (the model's hash and card)"),
    Item("Software and its versions", BOTH, "report.json, environment"),
    Item("Initial weights", "CLAIM", "Training; Where it comes from"),
    Item("Training: procedure, settings, length", "CLAIM", "Training"),
    Item("How the final model was chosen", "CLAIM"),
    Item("Measures of performance and how they are defined", BOTH, "every question; Methods"),
    Item("Uncertainty of every measure", BOTH, "every figure (interval, how it is made, what it covers)"),
    Item("Robustness and sensitivity", "CLAIM", "docs/evaluation.md, how the metrics respond to known damage"),
    Item("Test on external data", BOTH, "Data, where --real is of another source"),
    Item("Characteristics of the people in each part of the data", BOTH, "the dataset's own page (index.html)"),
    Item("Performance in subgroups, bias and fairness", "STARD-AI", "Fairness; Faithfulness (by group)"),
    Item("Failures, and what they look like", BOTH, "Realism (least like any real image)"),
    Item("Comparison with human readers", BOTH, "Blinded reading"),
    Item("Limitations", BOTH, "Warnings (what they mean is " + AUTHORS + ")"),
    Item("Implications for practice", BOTH),
    Item("Registration and protocol", BOTH, "Blinded reading (hash of the frozen protocol)"),
    Item("Availability of code, model and data", BOTH, "Where it comes from; the model's card"),
    Item("Funding and interests", BOTH),
)
