"""A paragraph for a paper, of what was really done, and the sources that it rests on, as BibTeX."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthcxr import __version__
from synthcxr.report.story import Story

if TYPE_CHECKING:
    from synthcxr.evaluation.content import Content

Sentence = tuple[str, tuple[str, ...]]
"""A sentence and the keys of its sources."""


BIBLIOGRAPHY = Path(__file__).parent / "references.bib"


@cache
def sources() -> dict[str, str]:
    """The BibTeX entries that ship, by key."""
    entries = BIBLIOGRAPHY.read_text(encoding="utf-8").strip().split("\n\n")
    return {entry.partition("{")[2].partition(",")[0]: entry for entry in entries}


def methods(content: "Content", story: Story) -> str:
    """The paragraph, with numbers that point into `references`."""
    sentences = list(_sentences(content, story))
    numbers = {key: number for number, key in enumerate(_used(sentences), 1)}
    return " ".join(
        f"{text} [{', '.join(str(numbers[key]) for key in keys)}]" if keys else text for text, keys in sentences
    )


def references(content: "Content", story: Story) -> list[str]:
    """BibTeX of the sources, in the order of their first use."""
    return [sources()[key] for key in _used(list(_sentences(content, story)))]


def _used(sentences: list[Sentence]) -> list[str]:
    return list(dict.fromkeys(key for _, keys in sentences for key in keys))


def _sentences(content: "Content", story: Story) -> list[Sentence]:
    asked = {answer.question for answer in content.answers}
    found = [*_sides(content, story)]
    for question, sentences in (
        ("realism", _realism),
        ("faithfulness", _faithfulness),
        ("usefulness", _usefulness),
        ("privacy", _privacy),
        ("artifacts", _artifacts),
        ("anatomy", _anatomy),
        ("fairness", _fairness),
        ("comparison", _comparison),
    ):
        if question in asked:
            found += sentences(content)
    found.append(
        (
            "Intervals are 95 % intervals; those of distances are delete-a-group jackknife intervals over 20 groups of "
            "patients a side, those of shares Wilson’s.",
            ("busing1999", "wilson1927"),
        )
    )
    return found


def _sides(content: "Content", story: Story) -> list[Sentence]:
    real, synthetic = content.sides["real"] or {}, content.sides["synthetic"] or {}
    training = content.sides["training"]
    words = (
        f"{synthetic['n']:,} synthetic chest X-rays were compared with {real['n']:,} real ones of "
        f"{real['patients']:,} patients ({real['name']}, {real['split']} split) with synthcxr {__version__}"
    )
    words += f", and with {training['n']:,} training images ({training['name']})." if training else "."
    found: list[Sentence] = [(words, ())]
    for chapter in story.of("generate"):
        config = chapter.manifest["config"]
        found.append(
            (
                f"They were drawn in {config['steps']} steps ({config['scheduler']}) at a guidance scale of "
                f"{config['guidance']}, set seed {config['seed']}.",
                (),
            )
        )
    return found


def _realism(content: "Content") -> list[Sentence]:
    encoder = content.encoder
    found: list[Sentence] = [
        (
            f"Realism was measured on the {encoder['dimension']} features of {encoder['name']} (SHA-256 "
            f"{encoder['sha256'][:12]}; {encoder['preprocessing']}) as the Fréchet distance, which on these features "
            "is not the FID,",
            ("heusel2017",),
        ),
        (
            "its extrapolation to endless images, from halves of the images that share none,",
            ("chong2020",),
        ),
        ("the unbiased kernel distance,", ("binkowski2018",)),
        ("precision and recall,", ("kynkaanniemi2019",)),
        (
            f"and density and coverage (k = {content.config['neighbours']}).",
            ("naeem2020",),
        ),
        ("Variety was measured as the mean MS-SSIM of pairs of images,", ("odena2017",)),
        ("as the Vendi score of the features about the set’s own mean,", ("friedman2023",)),
        ("and as authenticity by the training images.", ("alaa2022",)),
        ("The floor is the same figure between two halves of the real patients, over 20 halvings.", ()),
    ]
    if content.figure("fid"):
        found.append(
            ("The FID was taken on Inception’s pool3 with antialiased resizing.", ("heusel2017", "parmar2022"))
        )
    if content.figure("frechet_distance_rad_dino"):
        found.append(("Distances were also taken on Rad-DINO’s features.", ("perezgarcia2025",)))
    return found


def _faithfulness(content: "Content") -> list[Sentence]:
    figure: dict[str, Any] = next((each for each in content.metrics if each.get("classifier")), {})
    if not figure:
        return []
    return [
        (
            f"Faithfulness to the prompts was judged by {figure['classifier']} (SHA-256 "
            f"{figure['classifier_sha256'][:12]}) as the area under the ROC curve, with DeLong’s variance "
            "(within patients Obuchowski’s) on the logit’s scale, beside the same classifier on the real images.",
            ("delong1988", "obuchowski1997"),
        )
    ]


def _usefulness(content: "Content") -> list[Sentence]:
    figure: dict[str, Any] = next((each for each in content.metrics if each.get("method")), {})
    if not figure:
        return []
    return [
        (
            f"Usefulness was measured by teaching a small classifier ({figure['method']}) with synthetic images, with "
            f"real ones, and with both, over {figure['seeds']} trainings each, and testing it on real patients; the "
            "figure is the mean area under the ROC curve over labels "
            f"({', '.join(figure['labels'])}), its variance that over patients drawn with replacement together with "
            "that between trainings.",
            ("esteban2017",),
        )
    ]


def _privacy(content: "Content") -> list[Sentence]:
    found: list[Sentence] = []
    if (content.figure("near_copy_rate") or {}).get("value") is not None:
        found.append(
            (
                "Near-copies are images whose identity lies nearer to a training image than that of 99 % of unseen "
                "patients does.",
                (),
            )
        )
    if (content.figure("pixel_copy_rate") or {}).get("value") is not None:
        found.append(
            (
                "They were searched by pixels, too: fine detail was laid over that of the nearest training images at "
                "small shifts and scales by normalised cross-correlation.",
                ("lewis1995",),
            )
        )
    if (content.figure("membership_auc_distance") or {}).get("value") is not None:
        found.append(("Membership was inferred from the distance to the nearest synthetic image.", ("chen2020",)))
    if (content.figure("membership_auc_loss") or {}).get("value") is not None:
        found.append(("Membership was inferred from the model’s loss.", ("carlini2023", "matsumoto2023")))
    return found


def _artifacts(content: "Content") -> list[Sentence]:
    if content.figure("noise_difference") is None:
        return []
    return [("Noise was estimated from the difference of two Laplacians.", ("immerkaer1996",))]


def _anatomy(content: "Content") -> list[Sentence]:
    if not any(each.get("landmarks_sha256") for each in content.metrics):
        return []
    return [
        (
            "Proportions of the chest were taken between landmarks found by a small U-Net",
            ("ronneberger2015",),
        ),
        (
            "as the mean places of its maps; a measure whose error on held-out patients exceeds half its spread among "
            "patients was left out.",
            ("nibali2018",),
        ),
    ]


def _fairness(_: "Content") -> list[Sentence]:
    return [
        (
            "Groups by sex, age, view and source were compared with the largest group of each; intervals of the "
            "differences are from those of both groups.",
            ("zou2008",),
        )
    ]


def _comparison(content: "Content") -> list[Sentence]:
    count = max((each.get("comparisons", 0) for each in content.metrics), default=0)
    return [
        (
            "Sets were compared pair by pair at equal numbers of images, the real patients left out of both at once, "
            f"with Holm’s correction for {count} comparisons.",
            ("holm1979",),
        )
    ]
