"""The whole page, of trainings of seconds."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from declip_rt.errors import ConfigError
from tests.train.dp_adapter import albums
from train.dp_adapter import evaluate as module
from train.dp_adapter import measures
from train.dp_adapter.evaluate import Plan, evaluate
from train.dp_adapter.looks import ATTRIBUTES
from train.dp_adapter.pairs import SYSTEMS
from train.dp_adapter.run import Workshop

PLAN = Plan(seeds=1, pairs=6, jobs=1)


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "RESAMPLES", 20)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    evaluate(albums.config(), albums.source(folder), folder / "run", folder / "results", PLAN, "By a test.")
    return folder


def drawn(made: Path) -> np.lib.npyio.NpzFile:
    (file,) = (made / "run" / "drawn").glob("dp_adapter-0-*.npz")
    return np.load(file)


def test_the_page_has_every_figure(made: Path):
    found = json.loads((made / "results" / "dp_adapter.json").read_bytes())["figures"]
    for system in SYSTEMS:
        for attribute in ATTRIBUTES:
            for key in (f"transfer.{attribute}.{system}", f"look_leak.{attribute}.{system}"):
                assert -1 <= found[key]["low"] <= found[key]["high"] <= 1
        assert {
            f"content.{system}.semantic",
            f"content.{system}.perceptual",
            f"disentanglement.{system}",
        } <= found.keys()
    page = (made / "results" / "dp_adapter.md").read_text()
    assert page.index("## Both branches alive") < page.index("## Control")
    assert 6 * 128 < Image.open(made / "results" / "dp_adapter.png").width < 8 * 128


def test_the_target_itself_is_the_ceiling(made: Path):
    found = json.loads((made / "results" / "dp_adapter.json").read_bytes())["figures"]
    assert found["content.target.semantic"]["value"] == 4
    index = {system: found[f"disentanglement.{system}"]["value"] for system in (*SYSTEMS, "target")}
    assert max(index, key=index.get) == "target"


def test_probes_say_what_features_tell(made: Path):
    workshop = Workshop.open(albums.config(), albums.source(made), made / "run")
    material = workshop.material
    number = torch.arange(len(material.album))
    photo, blind = torch.eye(4)[number // 6], torch.zeros(len(number), 4)
    look = torch.from_numpy(module._measured(module._pictures(workshop, number))).float()
    told = replace(material, features={"perceptual": look, "semantic": photo, "coarse": blind})
    found = module._told(replace(workshop, material=told))
    assert found["probe.photo.semantic"].value == 1
    assert found["probe.photo.coarse"].value == 0.25
    assert found["probe.noise.perceptual"].value > 0.9
    assert found["probe.noise.coarse"].value == 0


def test_references_are_of_held_out_looks_and_other_photos(made: Path):
    with drawn(made) as arrays:
        perceptual, semantic = (np.divmod(arrays[name], 6) for name in ("perceptual", "semantic"))
    assert min(perceptual[1].min(), semantic[1].min()) >= 4
    assert (perceptual[0] != semantic[0]).all()


def test_pictures_come_back_from_their_latents(made: Path):
    workshop = Workshop.open(albums.config(), albums.source(made), made / "run")
    numbers = range(len(workshop.material.album))
    back = workshop.base.decode(workshop.material.latents(numbers))
    assert np.array_equal(np.stack(back), np.stack(workshop.material.album.pictures(numbers)))


def test_what_is_there_is_not_made_again(made: Path, monkeypatch: pytest.MonkeyPatch):
    before = (made / "results" / "dp_adapter.json").read_bytes()
    monkeypatch.setattr(Workshop, "trained", None)
    monkeypatch.setattr(module, "draw_all", None)
    evaluate(albums.config(), albums.source(made), made / "run", made / "results", PLAN, "By a test.")
    assert (made / "results" / "dp_adapter.json").read_bytes() == before


def test_no_scale_is_the_base_and_each_changes_the_picture(made: Path):
    with drawn(made) as arrays:
        both, look, content = (arrays[name] for name in ("drawn", "at 1 0", "at 0 1"))
        assert np.array_equal(both, arrays["at 1 1"])
        assert (both != look).any()
        assert (both != content).any()


def test_a_real_base_is_refused(tmp_path: Path):
    import msgspec

    config = msgspec.structs.replace(albums.config(), base="folder")
    with pytest.raises(ConfigError, match="make `base` a table"):
        evaluate(config, albums.source(tmp_path), tmp_path, tmp_path, PLAN, "")
