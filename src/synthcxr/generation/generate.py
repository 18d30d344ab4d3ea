"""The stage `generate`: a set of synthetic X-rays, each with its own seed and its provenance inside."""

import time
from collections import Counter
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from synthcxr.buckets import bucket_for, spell
from synthcxr.config import GenerateConfig
from synthcxr.devices import describe, worker_count
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.acceptance import parse_rules
from synthcxr.generation.drawing import (
    Block,
    Job,
    Outcome,
    Sampling,
    artist_for,
    blocks_of,
    draw_block,
    held_models,
    share_cores,
    with_places,
)
from synthcxr.generation.gate import Draw, Gated, draw_accepted, identify_gate, load_gate
from synthcxr.generation.mixture import count_mix, tell_mix
from synthcxr.generation.prompts import Wish, read_wishes
from synthcxr.generation.provenance import DISCLAIMER
from synthcxr.generation.sheet import write_sheet
from synthcxr.imagefolder import write_rows
from synthcxr.images import Size
from synthcxr.models.registry import Model, Reference, describe_model, identify, resolve
from synthcxr.progress import say, track
from synthcxr.seeds import row_seed
from synthcxr.store import Json, describe_input, manifest_hash, open_output, sha256_file, write_jsonl
from synthcxr.workers import map_in_workers

SPLIT = "train"


def generate(config: GenerateConfig) -> Path:
    """Draw what the config asks for; images that are there from an earlier call stay as they are."""
    reference = resolve(config.model)
    _check_steps(config, reference)
    wishes = read_wishes(config)
    identity = config.identity() | identify(reference)
    if config.prompts:
        identity["prompts_sha256"] = sha256_file(config.prompts)
    if config.like:
        identity["like_sha256"] = manifest_hash(config.like)
    if config.accept:
        identity["gate"] = identify_gate(parse_rules(config.accept), reference)
    inputs = [path for path in (reference.run or reference.folder, config.prompts, config.like) if path]
    with open_output(config.out, "set", identity, overwrite=config.overwrite, inputs=inputs) as output, held_models():
        if output.finished:
            say(f"{config.out} is already done.")
            return config.out
        if mix := count_mix(wish.fields for wish in wishes):
            say(tell_mix(mix, len(wishes)))
        config = config.model_copy(update={"batch_size": min(config.batch_size, len(wishes))})  # nothing to fill up
        job = Job(reference, Sampling.of(config), config.batch_size, config.device, config.dtype)
        model = artist_for(job).model
        asked = with_places([_row(config, model, index, wish) for index, wish in enumerate(wishes)], config.batch_size)
        _say_what_is_cut(model, asked)
        drawn = _draw_accepted(config, job, asked, output.scratch)
        rows = drawn.rows
        if drawn.rejected:
            write_jsonl(config.out / "rejected.jsonl", drawn.rejected)
        if len(rows) < len(asked):
            say(f"{len(asked) - len(rows)} of {len(asked)} images were rejected; rejected.jsonl has the reasons.")
        if not rows:
            raise SynthCXRError(f"No image of {len(asked)} was accepted; {config.out}/rejected.jsonl has the reasons.")
        write_rows(config.out, SPLIT, rows)
        write_sheet(config.out, [config.out / SPLIT / row["file_name"] for row in rows])
        accepted: dict[str, Any] = {"acceptance": drawn.report} if config.accept else {}
        return output.finish(
            inputs={"model": describe_model(model, config.out)}
            | ({"like": describe_input(config.like, config.out)} if config.like else {}),
            counts={
                "images": len(rows),
                "prompts": len({row["text"] for row in rows}),
                "rejected": len(asked) - len(rows),
            },
            environment=describe(model.compute) | {"threads": threads_each(config)},
            notes=[DISCLAIMER],
            preprocessing=f"8-bit grey, drawn at {_tell_sizes(rows)} px",
            mix=count_mix(rows),
            **accepted,
        )


def _check_steps(config: GenerateConfig, reference: Reference) -> None:
    """Refuse the few-step preset for a model that is no student; say where a student is drawn otherwise than learnt."""
    student = reference.student_steps
    if config.preset == "preview" and student is None:
        raise UsageError(
            f"--preset preview is for few-step students, and {reference.name} is none. Take --preset fast, or train a "
            f"student: synthcxr train DATASET --base {config.model} --student-steps {config.steps}."
        )
    if student and (config.steps, config.guidance, config.scheduler) != (student, 1.0, "ddim"):
        say(f"{reference.name} was trained to be drawn with --steps {student} --scheduler ddim --guidance 1.")


def _draw_accepted(config: GenerateConfig, job: Job, rows: list[Json], scratch: Path) -> Gated:
    """Draw the rows, and with `--accept` those again whose images break a rule."""
    draw: Draw = partial(_draw_missing, config, job, time.monotonic())
    if not config.accept:
        drawn = draw(rows, config.out / SPLIT, scratch / "blocks")
        return Gated(drawn.rows, drawn.rejected, {})
    return draw_accepted(
        load_gate(parse_rules(config.accept), job.reference, rows, config.device),
        rows,
        draw,
        seed=config.seed,
        attempts=config.attempts,
        batch_size=config.batch_size,
        workers=config.workers,
        folder=config.out / SPLIT,
        out=config.out,
        scratch=scratch,
        keep=config.keep_rejected,
    )


def _draw_missing(
    config: GenerateConfig, job: Job, since: float, rows: list[Json], folder: Path, journals: Path
) -> Outcome:
    """Draw into a folder the blocks that are not there yet; what became of all.

    Raises SynthCXRError when `max_hours` `since` a monotonic time are over.
    """
    import torch

    blocks = [
        Block([rows[place] for place in places], folder, journals / f"{places[0]:08d}.json")
        for places in blocks_of(rows, config.batch_size)
    ]
    missing = [block for block in blocks if block.read() is None]
    to_draw = sum(len(block.rows) for block in missing)
    done, begun, threads = len(rows) - to_draw, time.monotonic(), torch.get_num_threads()
    outcomes = map_in_workers(
        partial(draw_block, job), missing, config.workers, set_up=partial(share_cores, threads_each(config))
    )
    shown = track(outcomes, "Drawing images", len(rows), done=done, size=Outcome.__len__)
    try:
        for outcome in shown:
            done += len(outcome)
            if config.max_hours and time.monotonic() - since > config.max_hours * 3600 and done < len(rows):
                raise SynthCXRError(f"Stopped after {done} of {len(rows)} images as asked; the same command goes on.")
    finally:
        torch.set_num_threads(threads)  # where one worker was enough, it was this process
    if missing:
        seconds = time.monotonic() - begun
        say(f"{to_draw} images in {seconds / 60:.1f} minutes, {to_draw / seconds:.2f} images/s.")
    ended = [known for block in blocks if (known := block.read())]
    made, rejected = [row for one in ended for row in one.rows], [row for one in ended for row in one.rejected]
    return Outcome(*(sorted(some, key=itemgetter("index")) for some in (made, rejected)))


def threads_each(config: GenerateConfig) -> int:
    """Threads of a process: this one's, shared among the workers."""
    import torch

    return max(1, torch.get_num_threads() // worker_count(config.workers))


def _row(config: GenerateConfig, model: Model, index: int, wish: Wish) -> dict[str, Any]:
    height, width = size_of(config, model, wish)
    return {
        "file_name": f"{index:06d}.png",
        "text": wish.text,
        "negative_prompt": config.negative_prompt,
        "seed": row_seed(config.seed, index),
        "index": index,
        "attempt": 0,
        "steps": config.steps,
        "guidance": config.guidance,
        "guidance_start": config.guidance_start,
        "guidance_end": config.guidance_end,
        "guidance_rescale": config.guidance_rescale,
        "scheduler": config.scheduler or model.family.default_sampler,
        "width": width,
        "height": height,
        "batch_size": config.batch_size,
        "model_sha256": model.sha256,
        "adapter_sha256": model.adapter_sha256,
        "synthetic": True,
        "notice": DISCLAIMER,
        **wish.fields,
    }


def size_of(config: GenerateConfig, model: Model, wish: Wish) -> Size:
    """What an image is drawn at: the size asked for, else the bucket of its model row's shape, else the square."""
    size = config.height_and_width or bucket_for(wish.size, config.resolution or model.image_size)
    cell = model.pipeline.vae_scale_factor
    if any(side % cell for side in size):
        raise UsageError(f"{model.reference.name} draws sides that are multiples of {cell} px, not {spell(size)}.")
    return size


def _tell_sizes(rows: list[Json]) -> str:
    sizes = Counter((row["height"], row["width"]) for row in rows)
    words = {size: str(size[0]) if size[0] == size[1] else spell(size) for size in sizes}
    return ", ".join(words[size] for size, _ in sizes.most_common())


def _say_what_is_cut(model: Model, rows: list[dict[str, Any]]) -> None:
    longest = model.family.text_length(model.pipeline)
    for prompt in dict.fromkeys(row["text"] for row in rows):
        if cut := model.family.cut_off(model.pipeline, prompt):
            say(f"The text encoder takes {longest} tokens; of a prompt this is cut: “{cut}”")
