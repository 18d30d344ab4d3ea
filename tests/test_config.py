"""Config models: one source of options, errors in plain words."""

from pathlib import Path

import pytest

from synthcxr import config as configs
from synthcxr.config import GenerateConfig, PrepareConfig, StageConfig, TrainConfig
from synthcxr.errors import UsageError

STAGES = [
    c for c in vars(configs).values() if isinstance(c, type) and issubclass(c, StageConfig) and c is not StageConfig
]


def test_a_file_of_options_gives_way_to_the_call(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("prompt: from the file\nbatch-size: 3\nout: here\n")
    loaded = GenerateConfig.load({"prompt": "from the call"}, file)
    assert (loaded.prompt, loaded.batch_size, loaded.out) == ("from the call", 3, Path("here"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompt": "x"}, "--out is needed"),
        ({"prompt": "x", "out": "o", "count": -3}, "--count: Input should be greater"),
        ({"out": "o"}, "either --prompt TEXT or --prompts FILE"),
        ({"prompt": "x", "out": "o", "colour": 1}, "--colour is not an option"),
        ({"prompt": "x", "out": "o", "scheduler": "magic"}, "--scheduler: Input should be 'ddim'"),
    ],
)
def test_wrong_options_are_said_one_a_line(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        GenerateConfig.load(values)


@pytest.mark.parametrize("split", ["60/40", "60/30/30", "a/b/c", "120/-20/0"])
def test_splits_add_up(split: str) -> None:
    with pytest.raises(UsageError, match="--split must"):
        PrepareConfig.load({"source_path": "s", "out": "o", "split": split})


def test_a_bad_config_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("a: [")
    with pytest.raises(UsageError, match=r"c\.yaml cannot be read"):
        GenerateConfig.load({}, tmp_path / "c.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        GenerateConfig.load({}, tmp_path / "none.yaml")


def test_the_identity_leaves_out_where_and_how_fast() -> None:
    one = TrainConfig(datasets=[Path("d")], out=Path("a"), checkpoint_every=5)
    two = TrainConfig(datasets=[Path("d")], out=Path("b"), checkpoint_every=50, overwrite=True)
    assert one.identity() == two.identity() and "out" not in one.identity()
    assert one.identity() != TrainConfig(datasets=[Path("d")], out=Path("a"), seed=1).identity()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_every_field_of_every_stage_says_what_it_is(stage: type[StageConfig]) -> None:
    assert stage.__doc__
    assert all(field.description for field in stage.model_fields.values())


def test_a_config_can_be_written_as_the_command_that_gives_it() -> None:
    config = TrainConfig(datasets=[Path("d"), Path("e")], out=Path("o"), steps=7, train_text_encoder=True)
    assert config.as_arguments() == ["d", "e", "--steps", "7", "--train-text-encoder", "--out", "o"]
