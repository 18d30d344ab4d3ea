"""The model card that goes out with an exported run: what it was made from, how, and what it is not for."""

from synthcxr.store import Json

LEFT_OUT = ("base", "datasets", "init", "out", "method", "steps", "rank", "alpha")
"""Settings that name places on a machine, or that the card says elsewhere."""

NOT_FOR_DIAGNOSIS = (
    "Everything that it draws is synthetic: an image shows no patient, and no finding in it is evidence of anything. "
    "It is not for diagnosis, not for deciding on treatment, and not to be passed off as real."
)


def write_card(title: str, about: str, run: Json, base: Json, usage: str) -> str:
    """A model card in Markdown with the hub's front matter.

    `run` is the run's manifest. `base` has ``name``, ``licence`` and ``sha256`` of the model that it started from.
    `usage` is the code that loads what was exported.
    """
    config, counts = run["config"], run["counts"]
    settings = {name: value for name, value in sorted(config.items()) if _is_setting(name, value)}
    amounts = {"method": config["method"], "steps": counts["steps"], "images seen": counts["images_seen"]}
    if config["method"] == "lora":
        amounts |= {"rank": config["rank"], "alpha": config["alpha"] or config["rank"]}
    amounts |= {"training images": counts["images"], "patients": counts["patients"]}
    return "\n".join(
        [
            "---",
            "library_name: diffusers",
            "tags: [chest-x-ray, synthetic, text-to-image]",
            "---",
            f"# {title}",
            "",
            about,
            "",
            "## Intended use",
            "Research on synthetic chest X-rays: adding to training data, teaching, tests of software, reader studies.",
            f"**Synthetic, not for diagnosis.** {NOT_FOR_DIAGNOSIS}",
            "",
            "## How to load it",
            "```python",
            usage.strip(),
            "```",
            "",
            "## Base",
            f"- Name: {base['name']}",
            f"- Licence: {base['licence']}",
            f"- SHA-256 of its weights, configs and vocabularies: `{base['sha256']}`",
            "",
            "## Data and their licences",
            *_sources(run.get("sources", [])),
            "",
            "## Training",
            *_table(amounts | dict(run.get("measured", {}))),
            "",
            f"All settings (synthcxr {run['tool']['synthcxr']}):",
            "",
            *_table(settings),
            "",
        ]
    )


def _is_setting(name: str, value: object) -> bool:
    return name not in LEFT_OUT and not name.endswith("sha256") and value is not None and value != []


def _sources(sources: list[Json]) -> list[str]:
    lines = []
    for source in sources:
        sharing = " **Restricted: read the terms before you pass on what was made from it.**"
        lines.append(f"- {source['name']}: {source['licence']}.{sharing if source.get('restricted') else ''}")
    return lines or ["- Not known."]


def _table(values: Json) -> list[str]:
    return ["| | |", "| --- | --- |", *(f"| {name} | {_plain(value)} |" for name, value in values.items())]


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
