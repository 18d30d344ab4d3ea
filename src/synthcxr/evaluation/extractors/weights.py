"""Weights by reference: on this machine where they are, else fetched, and used only if they are the published bytes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from synthcxr.errors import SynthCXRError
from synthcxr.models.sources import ChangedError, explain, file_hash, split_revision


def find_file(name: str, sources: Sequence[str], sha256: str) -> Path:
    """One file by its SHA-256, at the end of one of several URLs.

    It is looked for where ``torch.hub``, and so pytorch-fid and torch-fidelity, keep their weights, and kept there.
    Raises ChangedError where a file there is another, SynthCXRError with every source's reason where none gives it.
    """
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    for source in sources:
        if (path := folder / source.rpartition("/")[2]).is_file():
            _check(path, sha256)
            return path
    reasons = []
    for source in sources:
        path = folder / source.rpartition("/")[2]
        try:
            _check_network()
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(source, str(path), hash_prefix=sha256, progress=False)
            return path
        except Exception as error:  # the network's, the disk's, and a bare RuntimeError for a wrong hash
            reasons.append((source, explain(error)))
    raise _not_found(name, reasons)


def find_folder(name: str, sources: Sequence[str], files: Mapping[str, str]) -> Path:
    """A folder with files of known SHA-256, of one of several repositories on a hub, ``owner/name@revision``.

    Raises ChangedError where a file is another, SynthCXRError with every source's reason where none gives it.
    """
    reasons = []
    for source in sources:
        repository, revision = split_revision(source)
        try:
            folder = _from_hub(repository, revision, files)
        except Exception as error:  # the hub's own errors, the network's below them, and the disk's
            reasons.append((source, explain(error, repository)))
            continue
        for file, sha256 in files.items():
            _check(folder / file, sha256)
        return folder
    raise _not_found(name, reasons)


def _from_hub(repository: str, revision: str, files: Iterable[str]) -> Path:
    """The hub's cache is asked first, so that nothing waits for a network that is not needed."""
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache

    held = [try_to_load_from_cache(repository, file, revision=revision) for file in files]
    if all(isinstance(path, str) for path in held):
        return Path(str(held[0])).parent
    HfApi().model_info(repository, revision=revision)  # fails at once, where a download tries five times
    return Path(snapshot_download(repository, revision=revision, allow_patterns=list(files)))


def _check(path: Path, sha256: str) -> None:
    found = file_hash(path) if path.is_file() else "not there"
    if found != sha256:
        raise ChangedError(
            f"{path} is not the published file: its SHA-256 is {found}, it should be {sha256}.\n"
            "Remove it and run the same command again; it is fetched anew."
        )


def _check_network() -> None:
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    if constants.HF_HUB_OFFLINE:
        raise OfflineModeIsEnabled("the network is switched off")


def _not_found(name: str, reasons: Sequence[tuple[str, str]]) -> SynthCXRError:
    listed = "".join(f"\n  {source}: {reason.partition(chr(10))[0]}" for source, reason in reasons)
    return SynthCXRError(
        f"The weights of {name} are not here and could not be fetched:{listed}\n"
        f"Weights on this machine always work: give {name}=PATH instead of the name."
    )
