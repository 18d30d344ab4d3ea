"""Membership inference: can one who holds a patient's X-ray tell whether the model was trained on it?

Two attacks. By distance, with the set alone: X-rays of the training lie nearer to the set than others do (D. Chen,
N. Yu, Y. Zhang, M. Fritz, "GAN-Leaks", CCS 2020). By loss, with the model: it predicts noise better in what it was
trained on (N. Carlini et al., "Extracting training data from diffusion models", USENIX Security 2023; T. Matsumoto,
T. Miura, N. Yanai, "Membership inference attacks against diffusion models", 2023). An area of 0.5 is guessing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthcxr.buckets import bucket_for
from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.faithfulness import auc_interval
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Estimate, Floats, Ints
from synthcxr.evaluation.measure import metric
from synthcxr.evaluation.neighbours import nearest
from synthcxr.imagefolder import Row
from synthcxr.images import cover
from synthcxr.progress import track
from synthcxr.seeds import seed_for
from synthcxr.store import Json

if TYPE_CHECKING:
    from synthcxr.models.registry import Model, Reference

FEWEST = 20
"""Images a side below which an attack says nothing."""
MOST = 200
"""Images a side that the loss is worked out for."""
LEVELS = (0.1, 0.3, 0.5, 0.7)
"""Noise levels at which the loss is taken, as shares of all."""


def sides_of_attack(real: FeatureSet, training: FeatureSet | None, no_training: str) -> tuple[Ints, Ints, str]:
    """Places of members in the training and of non-members on the real side, or the reason why there is no attack.

    Members are of the sources that the real side has, or their origin would be told, not their membership.
    """
    none = np.zeros(0, np.int64)
    if training is None:
        return none, none, no_training
    if not all(training.rows) or not all(real.rows):
        return (
            none,
            none,
            (
                "The training or the real images are known by their features alone: it is not known which of them "
                "are of the same source. Give --training DATASET, and a dataset as --real."
            ),
        )
    trained = {key for key in training.keys if key}
    sources = {row.fields.get("source") for row in real.rows if row}
    outside = np.flatnonzero([key not in trained for key in real.keys])
    members = np.flatnonzero([row is not None and row.fields.get("source") in sources for row in training.rows])
    if min(len(members), len(outside)) < FEWEST:
        return (
            none,
            none,
            (
                f"Too few images of one source inside and outside the training: {FEWEST} are needed a side, here are "
                f"{len(members)} and {len(outside)}."
            ),
        )
    return members.astype(np.int64), outside.astype(np.int64), ""


def attack(members: Floats, others: Floats, patients: tuple[Ints, Ints]) -> Estimate:
    """The area under the ROC curve of an attack's scores of members (N,) and others (M,), higher for members.

    `patients` are the codes of both; the interval is DeLong's with patients as clusters.
    """
    truth = np.repeat([True, False], [len(members), len(others)])
    codes = np.concatenate([patients[0], patients[1] + patients[0].max() + 1])
    return auc_interval(truth, np.concatenate([members, others]), codes)


def distance_attack(real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None, no_training: str) -> Json:
    """The attack by the distance to the nearest synthetic image, between identities."""
    inside, outside, reason = sides_of_attack(real, training, no_training)
    if reason or training is None:
        return _metric("membership_auc_distance", None, synthetic, (0, 0), reason)
    scores = [
        -nearest(side[places], synthetic.identity).distance
        for side, places in ((training.identity, inside), (real.identity, outside))
    ]
    area = attack(scores[0], scores[1], (training.patients[inside], real.patients[outside]))
    return _metric("membership_auc_distance", area, synthetic, (len(inside), len(outside)))


def loss_attack(
    model: "Reference | None",
    real: FeatureSet,
    synthetic: FeatureSet,
    training: FeatureSet | None,
    no_training: str,
    no_model: str,
    *,
    seed: int,
    device: str,
) -> Json:
    """The attack by the model's own loss, on at most 200 images a side; the same noise for all."""
    inside, outside, reason = sides_of_attack(real, training, no_training)
    if reason or training is None or model is None:
        return _metric("membership_auc_loss", None, synthetic, (0, 0), reason or no_model)
    from synthcxr.devices import pick
    from synthcxr.models.registry import load

    try:
        loaded = load(model, pick(device, "float32"))
    except SynthCXRError as error:
        return _metric("membership_auc_loss", None, synthetic, (0, 0), str(error))

    rng = np.random.default_rng(seed_for(seed, "members"))
    inside, outside = (np.sort(rng.permutation(places)[:MOST]) for places in (inside, outside))
    rows = [side.rows[i] for side, places in ((training, inside), (real, outside)) for i in places.tolist()]
    losses = denoising_losses(loaded, [row for row in rows if row], seed)
    area = attack(-losses[: len(inside)], -losses[len(inside) :], (training.patients[inside], real.patients[outside]))
    return _metric("membership_auc_loss", area, synthetic, (len(inside), len(outside)))


def denoising_losses(model: "Model", rows: Sequence[Row], seed: int) -> Floats:
    """The model's mean squared error (N,) on images with their own prompts, over `LEVELS`; all have the same noise."""
    import torch

    family, pipeline, device = model.family, model.pipeline, model.compute.device
    scheduler = family.training_scheduler(pipeline)
    count = int(scheduler.config.num_train_timesteps)
    losses = np.zeros(len(rows))
    with torch.no_grad():
        for place, row in track(enumerate(rows), "losses", len(rows)):
            image = cover(row.read(), bucket_for(row.size, model.image_size))[None]
            latents = family.encode_images(pipeline, image)[0].repeat(len(LEVELS), 1, 1, 1)
            generator = torch.Generator().manual_seed(seed_for(seed, "noise"))
            noise = torch.randn(latents.shape, generator=generator).to(latents)
            levels = torch.tensor([int(share * count) for share in LEVELS], device=device)
            batch = family.noised(scheduler, latents, noise, levels)
            text = family.encode_text(pipeline, [row.text] * len(LEVELS))
            seen = family.predict(
                pipeline, batch.latents.contiguous(memory_format=torch.channels_last), batch.times, text
            )
            losses[place] = float((seen.float() - batch.target).square().mean())
    return losses


_MEANING = {
    "membership_auc_distance": ("Membership, by distance", "whether training images lie nearer to the set than others"),
    "membership_auc_loss": ("Membership, by loss", "whether the model gives its training images away"),
}


def _metric(name: str, area: Estimate | None, synthetic: FeatureSet, sizes: tuple[int, int], reason: str = "") -> Json:
    title, meaning = _MEANING[name]
    return metric(
        name,
        area,
        n_real=sizes[1],
        n_synthetic=len(synthetic),
        n_training=sizes[0],
        title=title,
        meaning=f"{meaning}: AUC of an attack, 0.5 is guessing",
        unit="area under the ROC curve",
        better="lower",
        interval="95 % by DeLong's variance with patients as clusters, on the logit's scale",
        estimand="The attack's area on endless patients like these, for this set and model.",
        extractor=synthetic if name == "membership_auc_distance" else None,
        reason=reason,
        useless=None,
        ceiling=0.5,
    )
