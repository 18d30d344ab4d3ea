"""`study`: blinded readings."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from synthcxr.config.base import PLACE, POSITIONAL, Out, Seed, StageConfig


class StudyNewConfig(StageConfig):
    """Set up a blinded reading of real and synthetic images, with a protocol frozen before the first answer."""

    real: Annotated[
        Path | None,
        Field(description="Dataset or folder of real images (of a dataset, its test split); quality alone needs none."),
    ] = None
    synthetic: Annotated[Path, Field(description="Set or folder of synthetic images.")]
    kind: Annotated[
        list[Literal["real-or-synthetic", "quality", "pairwise"]],
        Field(description="What is asked; several kinds have pictures of their own and are read one after the other."),
    ] = ["real-or-synthetic"]
    count: Annotated[
        int, Field(ge=1, description="Images of each sort for each kind of question; for pairwise, pairs.")
    ] = 50
    match: Annotated[
        bool, Field(description="Match real images to synthetic ones by view, age group, sex and findings.")
    ] = True
    items: Annotated[
        Path | None,
        Field(description="Quality: YAML list of items with name, text and steps, lowest first; default: a preset."),
    ] = None
    repeats: Annotated[
        int,
        Field(ge=0, description="Questions of each kind that are asked again, for a reader's agreement with itself."),
    ] = 0
    training: Annotated[
        int, Field(ge=0, description="Practice questions with feedback at the start, of each kind that can be wrong.")
    ] = 0
    reader: Annotated[list[str], Field(description="Name or code of a reader; once a reader.")] = []
    side: Annotated[
        int | None,
        Field(ge=16, description="Side in pixels to which all pictures are squared; default: only if sizes differ."),
    ] = None
    jpeg: Annotated[
        int | None,
        Field(
            ge=1, le=100, description="Pass all pictures through JPEG of this quality, so that its blocks tell nothing."
        ),
    ] = None
    title: Annotated[str, Field(description="Title of the reading.")] = "Real or synthetic?"
    hypothesis: Annotated[list[str], Field(description="What is to be shown; default: what --primary says.")] = []
    endpoint: Annotated[
        list[str],
        Field(description="Endpoint, the primary one first; default: by kind. AUC first makes it the primary."),
    ] = []
    primary: Annotated[
        Literal["difference", "equivalence"],
        Field(description="Readers do other than guess, or they do no better than guess within the margin."),
    ] = "difference"
    alpha: Annotated[float, Field(gt=0, lt=0.5, description="Level of the primary test.")] = 0.05
    margin: Annotated[float, Field(gt=0, lt=0.5, description="Equivalence: 0.5 ± margin counts as guessing.")] = 0.1
    stopping: Annotated[str, Field(description="When the reading ends.")] = (
        "When every reader has answered every question."
    )
    out: Out
    seed: Seed = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.kind)) < len(self.kind) or not self.kind:
            raise ValueError("--kind: give each kind once.")
        if self.real is None and self.kind != ["quality"]:
            raise ValueError("--real is needed, except for quality alone.")
        if self.items is not None and "quality" not in self.kind:
            raise ValueError("--items are rated in questions of the kind quality; add --kind quality.")
        if self.training and self.kind == ["quality"]:
            raise ValueError("--training gives feedback, and a rating of quality is neither right nor wrong.")
        if self.repeats > self.count * (1 if self.real is None or "pairwise" in self.kind else 2):
            raise ValueError(f"--repeats {self.repeats} is more than the questions that can be asked again.")
        names = [name.strip().lower() for name in self.reader]
        if "" in names or len(set(names)) < len(names):
            raise ValueError("--reader: every reader needs a name, and no two the same.")
        return self


class StudyAmendConfig(StageConfig):
    """Log a change to a frozen study, with its reason; the protocol itself stays as it is."""

    study: Annotated[Path, Field(description="Study to amend.", json_schema_extra=POSITIONAL)]
    what: Annotated[str, Field(description="What is changed.")]
    why: Annotated[str, Field(description="Why.")]
    by: Annotated[str, Field(description="Who decided it.")] = ""


class StudyPowerConfig(StageConfig):
    """Say how many readers and images a reading needs, by simulating readings and analyzing each."""

    readers: Annotated[list[int], Field(description="Number of readers; several for a table.")] = [3, 5, 10, 20]
    images: Annotated[
        list[int], Field(description="Number of images of each sort, real and synthetic; several for a table.")
    ] = [25, 50, 100, 200]
    accuracy: Annotated[float, Field(gt=0, lt=1, description="True share of right answers, over all readers.")] = 0.5
    margin: Annotated[float, Field(gt=0, lt=0.5, description="Equivalence: 0.5 ± margin counts as guessing.")] = 0.1
    alpha: Annotated[float, Field(gt=0, lt=0.5, description="Level of the test.")] = 0.05
    endpoint: Annotated[
        Literal["accuracy", "auc"], Field(description="What is tested: right answers, or the area from confidences.")
    ] = "accuracy"
    reader_spread: Annotated[
        float, Field(ge=0, lt=0.4, description="Standard deviation of accuracy between readers.")
    ] = 0.05
    image_share: Annotated[
        float, Field(ge=0, le=0.9, description="Share of an answer's variance that an image has for all readers alike.")
    ] = 0.3
    habit_share: Annotated[
        float, Field(ge=0, le=0.9, description="Share that comes from a reader's leaning to one of the two words.")
    ] = 0.05
    target: Annotated[float, Field(gt=0, lt=1, description="Power that is wanted.")] = 0.8
    trials: Annotated[int, Field(ge=10, le=100_000, description="Simulated readings for each number in the table.")] = (
        500
    )
    seed: Seed = 0
    out: Annotated[Path | None, Field(description="Folder for the table and a plot.", json_schema_extra=PLACE)] = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (self.readers and self.images) or min(self.readers) < 1 or max(self.readers) > 200:
            raise ValueError("--readers takes numbers from 1 to 200.")
        if min(self.images) < 2 or max(self.images) > 5000:
            raise ValueError("--images takes numbers from 2 to 5000.")
        return self


class StudyImportConfig(StageConfig):
    """Take in readers' answers: to a study, or as a study of its own."""

    answers: Annotated[
        Path,
        Field(
            description="CSV: reader,image,truth,answer[,confidence][,seconds], with the words real and synthetic, "
            "and a column for each item of quality.",
            json_schema_extra=POSITIONAL,
        ),
    ]
    column: Annotated[
        list[str], Field(description="Column that has another name in the file: answer=Verdict. Once a column.")
    ] = []
    value: Annotated[list[str], Field(description="Word of the file and what it means: fake=synthetic.")] = []
    item: Annotated[
        list[str],
        Field(description="Item that a column rates, with its steps, lowest first: overall=poor|fair|good."),
    ] = []
    study: Annotated[Path | None, Field(description="Study to add them to; a planned one knows the truth itself.")] = (
        None
    )
    out: Annotated[
        Path | None,
        Field(description="Folder to make of answers that belong to no study.", json_schema_extra=PLACE),
    ] = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.study is None) == (self.out is None):
            raise ValueError("Give either --study DIR (a study that exists) or --out DIR (a new one).")
        if self.study is not None and self.overwrite:
            raise ValueError("--overwrite would replace the study; with --study, answers are only added.")
        return self


class StudyAnalyzeConfig(StageConfig):
    """Say how well readers told synthetic images from real ones."""

    study: Annotated[Path, Field(description="Study with answers.", json_schema_extra=POSITIONAL)]
    out: Annotated[
        Path | None,
        Field(description="Folder for a report and for tables that iMRMC and R read.", json_schema_extra=PLACE),
    ] = None
    unblind: Annotated[
        str | None,
        Field(
            description="Why results are looked at before all readers are done; it is logged.", json_schema_extra=PLACE
        ),
    ] = None


class StudyServeConfig(StageConfig):
    """Let readers read a study in their browsers; each has a secret link."""

    study: Annotated[Path, Field(description="Study to read.", json_schema_extra=POSITIONAL)]
    host: Annotated[str, Field(description="Address to listen on; the default is open to this machine alone.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8123
    url: Annotated[
        str | None,
        Field(description="What the links begin with, where readers come through a proxy: https://reading.example.org"),
    ] = None
    new_links: Annotated[bool, Field(description="Make new links; the old ones open nothing any more.")] = False


class StudySimulateConfig(StageConfig):
    """Rehearse: readers of a given skill read a copy of a study through the server."""

    study: Annotated[Path, Field(description="Study to rehearse; it stays as it is.", json_schema_extra=POSITIONAL)]
    out: Annotated[Path, Field(description="The copy to make, which holds the answers.", json_schema_extra=PLACE)]
    readers: Annotated[int, Field(ge=1, le=200, description="How many readers.")] = 5
    accuracy: Annotated[float, Field(ge=0.5, lt=1, description="Their share of right answers, on average.")] = 0.8
    seed: Seed = 0
