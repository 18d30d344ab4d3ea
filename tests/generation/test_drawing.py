"""Long jobs: whatever stops, splits or shares the work, image i stays the same, and nothing bad is saved."""

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr.devices import is_out_of_memory, pick
from synthcxr.errors import SynthCXRError
from synthcxr.generation.provenance import read_provenance
from synthcxr.generation.sampler import draw
from synthcxr.imagefolder import read_rows
from synthcxr.models.families.base import NotFiniteError
from synthcxr.store import Json, read_jsonl, read_manifest, verify
from tests.generation.test_generate import make, pixels

drawing: Any = import_module("synthcxr.generation.drawing")
stage: Any = import_module("synthcxr.generation.generate")


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tiny_model, tmp_path_factory.mktemp("whole") / "set", count=7, batch_size=3, steps=2)


@settings(max_examples=12)
@given(batch_size=st.integers(1, 8), stops=st.lists(st.integers(0, 6), max_size=2), order=st.integers(0, 9))
def test_image_i_is_the_same_at_any_batch_size_order_and_after_any_stop(
    tiny_model: Path, whole: Path, batch_size: int, stops: list[int], order: int
) -> None:
    write = drawing.write_png

    def mixed(work: Any, blocks: list[Any], *_: Any, **__: Any) -> Iterator[Any]:
        yield from map(work, Random(order).sample(blocks, len(blocks)))

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        out = Path(folder) / "set"
        patch.setattr(stage, "map_in_workers", mixed)
        for stop in stops:
            left = iter(range(stop))
            patch.setattr(
                drawing,
                "write_png",
                lambda *given, left=left: write(*given) if next(left, None) is not None else stop_now(),
            )
            with suppress(KeyboardInterrupt):
                make(tiny_model, out, count=7, batch_size=batch_size, steps=2)
        patch.setattr(drawing, "write_png", write)
        made = make(tiny_model, out, count=7, batch_size=batch_size, steps=2)
        assert all(np.abs(a - b).max() <= 1 for a, b in zip(pixels(made), pixels(whole), strict=True))
        if batch_size == 3:
            assert read_manifest(made)["files"] == read_manifest(whole)["files"]


def stop_now() -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_two_workers_draw_the_bytes_that_one_draws(
    tiny_model: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        shared = make(tiny_model, tmp_path / "two", count=7, batch_size=3, steps=2, workers=2)
        torch.set_num_threads(1)
        alone = make(tiny_model, tmp_path / "one", count=7, batch_size=3, steps=2)
    finally:
        torch.set_num_threads(threads)
    assert read_manifest(shared)["files"] == read_manifest(alone)["files"]
    assert read_manifest(shared)["environment"]["threads"] == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_when_memory_runs_out_smaller_batches_draw_the_same_images(
    tiny_model: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sizes: list[int] = []

    def hungry(model: Any, requests: Any, **options: Any) -> Any:
        sizes.append(len(requests))
        if len(requests) > 2:
            raise error
        return draw(model, requests, **options)

    monkeypatch.setattr(drawing, "draw", hungry)
    made = make(tiny_model, tmp_path / "set", count=7, batch_size=7, steps=2)
    assert sizes == [7, 4, 2, 2, 2, 1]
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(pixels(made), pixels(whole), strict=True))


def test_other_errors_are_not_taken_for_memory_and_one_image_that_does_not_fit_is_said(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not match")) and not is_out_of_memory(ValueError("memory"))
    monkeypatch.setattr(drawing, "draw", lambda *_, **__: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(SynthCXRError, match="does not hold one image"):
        make(tiny_model, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def bad_at(place: int, *, in_float32: bool) -> Any:
    """`draw`, whose image at a place of each batch is not finite: in half precision, or always."""

    def faulty(model: Any, requests: Any, **options: Any) -> Any:
        images = draw(model, requests, **options)
        if in_float32 or model.compute.dtype != torch.float32:
            raise NotFiniteError(images, [place])
        return images

    return faulty


def test_an_image_that_is_not_finite_is_drawn_again_in_float32(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = make(tiny_model, tmp_path / "exact", count=4, steps=2)
    monkeypatch.setattr(drawing, "draw", bad_at(1, in_float32=False))
    made = make(tiny_model, tmp_path / "half", count=4, steps=2, dtype="bfloat16")
    assert np.array_equal(pixels(made)[1], pixels(exact)[1])
    said = [read_provenance(row.path)["environment"]["dtype"] for row in read_rows(made)]
    assert said == ["bfloat16", "float32", "bfloat16", "bfloat16"]
    assert read_manifest(made)["counts"]["rejected"] == 0


def test_an_image_that_is_finite_nowhere_is_rejected_and_never_saved(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "draw", bad_at(1, in_float32=True))
    made = make(tiny_model, tmp_path / "set", count=6, batch_size=3, steps=2)
    rejected: list[Json] = read_jsonl(made / "rejected.jsonl")
    assert [row["index"] for row in rejected] == [1, 4] and "not finite" in rejected[0]["reason"]
    assert [row.fields["index"] for row in read_rows(made)] == [0, 2, 3, 5]
    assert read_manifest(made)["counts"] == {"images": 4, "prompts": 1, "rejected": 2}
    assert len(list((made / "train").rglob("*.png"))) == 4 and verify(made) == []


def test_real_overflow_in_the_network_is_found(tiny_model: Path) -> None:
    from synthcxr.generation.sampler import Request
    from synthcxr.models.registry import load

    model = load(str(tiny_model), pick("cpu"))
    clean = draw(model, [Request("a", "", 1), Request("b", "", 2)], steps=2, guidance=2.0)
    convolution = model.pipeline.vae.decoder.conv_in
    convolution.register_forward_hook(lambda _, __, out: torch.cat([out[:1], out[1:] * float("inf")]))
    with pytest.raises(NotFiniteError) as error:
        draw(model, [Request("a", "", 1), Request("b", "", 2)], steps=2, guidance=2.0)
    assert error.value.bad == [1] and np.array_equal(error.value.images[0], clean[0])


def test_the_time_is_up_and_the_same_call_goes_on(tiny_model: Path, tmp_path: Path, whole: Path) -> None:
    with pytest.raises(SynthCXRError, match="Stopped after 3 of 7 images as asked"):
        make(tiny_model, tmp_path / "set", count=7, batch_size=3, steps=2, max_hours=1e-9)
    assert len(list((tmp_path / "set").rglob("*.png"))) == 3
    made = make(tiny_model, tmp_path / "set", count=7, batch_size=3, steps=2)
    assert read_manifest(made)["files"] == read_manifest(whole)["files"]
