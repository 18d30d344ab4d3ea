"""An encoder fixed to principal components: equal to plain PCA, kept by training, read by plain diffusers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from synthcxr import TrainConfig, train
from synthcxr.errors import UsageError
from synthcxr.images import Grey, to_model_range
from synthcxr.models import layout
from synthcxr.training.principal import LATENT_STD, SPREAD_POWER, principal_components, write_encoder
from tests.conftest import made_up_xray

COUNT = 24


def squares(image: Grey) -> np.ndarray:
    across = image.shape[0] // 8
    values = to_model_range(image).astype(np.float64).reshape(across, 8, across, 8)
    return values.transpose(0, 2, 1, 3).reshape(-1, 64)


def small_autoencoder() -> "torch.nn.Module":
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    vae: torch.nn.Module = AutoencoderKL(**layout.VAE)
    return vae


def latents_of(vae: "torch.nn.Module", image: Grey) -> "tuple[torch.Tensor, torch.Tensor]":
    grey = torch.from_numpy(to_model_range(image))[None, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        posterior = vae.encode(grey).latent_dist  # type: ignore[operator]
    return posterior.mean[0], posterior.std[0]


def test_the_network_gives_the_principal_components_of_the_reference() -> None:
    images = [made_up_xray(seed, 128) for seed in range(12)]
    components = principal_components(images, layout.VAE["block_out_channels"][:-1], COUNT)
    reference = PCA(COUNT).fit(np.concatenate([squares(image) for image in images]))
    deviation = np.sqrt(reference.explained_variance_)
    assert components.deviation == pytest.approx(deviation, rel=1e-3)
    vae = small_autoencoder()
    write_encoder(vae, components)
    unseen = made_up_xray(99, 128)
    mean, std = latents_of(vae, unseen)
    scale = deviation ** (SPREAD_POWER - 1)
    scale /= np.sqrt(np.mean((scale * deviation) ** 2))
    expected = (reference.transform(squares(unseen)) * scale).T.reshape(COUNT, 16, 16)
    # Components of near-equal variance may turn into each other and any may change sign: compare what is sure.
    for index in range(2):
        ours = mean[index].numpy()
        assert min(np.abs(ours - expected[index]).max(), np.abs(ours + expected[index]).max()) < 0.02
    kept = (mean.numpy() / scale[:, None, None]) ** 2
    assert kept.sum() == pytest.approx(((expected / scale[:, None, None]) ** 2).sum(), rel=5e-3)
    assert torch.allclose(std, torch.full_like(std, LATENT_STD), rtol=1e-4)


def test_training_leaves_the_encoder_and_teaches_the_decoder(dataset: Path, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    def run(name: str, steps: int) -> dict[str, torch.Tensor]:
        out = train(
            TrainConfig(
                datasets=[dataset],
                out=tmp_path / name,
                base="layout:tiny",
                method="autoencoder",
                latents="principal",
                steps=steps,
                batch_size=4,
                sample_every=0,
            )
        )
        weights: dict[str, torch.Tensor] = AutoencoderKL.from_pretrained(out / "model" / "vae").state_dict()
        return weights

    one, more = run("one", 1), run("more", 3)
    encoders = [name for name in one if name.startswith(("encoder.", "quant_conv."))]
    assert encoders and all(torch.equal(one[name], more[name]) for name in encoders)
    assert any(not torch.equal(one[name], more[name]) for name in one if name.startswith("decoder."))


def test_an_encoder_too_narrow_on_the_way_is_refused() -> None:
    with pytest.raises(UsageError, match="16 principal components for 24"):
        write_encoder(small_autoencoder(), principal_components([made_up_xray(0, 64)], (8, 8, 16), COUNT))


def test_an_encoder_without_room_is_refused() -> None:
    images = [made_up_xray(0, 64)]
    with pytest.raises(UsageError, match="wider than 128 channels"):
        write_encoder(small_autoencoder(), principal_components(images, (16, 32, 64), 60))
