"""Adapters that are trained here, in plain diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from declip_rt import Bundle
from declip_rt.errors import ConfigError
from tests.train.dp_adapter import pipelines
from tests.train.dp_adapter.conftest import Made
from train.dp_adapter.adapter import Standard, attach, cross_attentions, save, set_scales, state_dicts

if TYPE_CHECKING:
    import diffusers

FILES = ["perceptual.safetensors", "semantic.safetensors"]


def opened(base: Path, adapter: Path | None = None) -> diffusers.DiffusionPipeline:
    """A pipeline as anybody opens it, with the adapter as anybody loads it."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(base)
    pipeline.set_progress_bar_config(disable=True)
    if adapter is not None:
        folders = [str(adapter)] * 2
        pipeline.load_ip_adapter(folders, subfolder="", weight_name=FILES, image_encoder_folder=None)
    return pipeline


def drawn(pipeline: diffusers.DiffusionPipeline, guidance: float = 1.0, **given: Any) -> NDArray[np.float32]:
    generator = torch.Generator().manual_seed(3)
    called = {"num_inference_steps": 3, "guidance_scale": guidance, "generator": generator, "output_type": "np"}
    return pipeline("a cat", **called, **given).images[0]


def references(guidance: float = 1.0) -> dict[str, list[torch.Tensor]]:
    """Two features as a pipeline takes them: zeros before each where there is guidance."""
    found = [pipelines.features(seed, 1)[:, None] for seed in (1, 2)]
    return {"ip_adapter_image_embeds": [torch.cat([each * 0, each]) if guidance > 1 else each for each in found]}


@pytest.mark.parametrize("kind", pipelines.KINDS)
def test_only_projections_keys_and_values_are_trained(kind: str) -> None:
    model = pipelines.unet(kind)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = attach(model, [Standard.of(pipelines.features(seed, 50)) for seed in (1, 2)])
    pipelines.predict(model, kind).square().mean().backward()
    torch.optim.SGD(parameters, lr=1.0).step()

    added = {name for name, each in model.named_parameters() if name not in before}
    assert {name for name, each in model.named_parameters() if each.grad is not None} == added
    assert {id(each) for each in parameters} == {id(each) for name, each in model.named_parameters() if name in added}
    assert all(".to_k_ip." in name or ".to_v_ip." in name or "encoder_hid_proj" in name for name in added)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_keys_and_values_begin_as_those_of_the_text() -> None:
    model = pipelines.unet("sdxl")
    attach(model, [Standard.of(pipelines.features(1, 50))])
    assert len(cross_attentions(model)) == 8  # two each in the deeper blocks, down, in the middle, and twice up
    for attention in cross_attentions(model):
        assert torch.equal(attention.processor.to_k_ip[0].weight, attention.to_k.weight)
        assert torch.equal(attention.processor.to_v_ip[0].weight, attention.to_v.weight)


def test_projections_begin_by_the_seed_and_leave_other_random_numbers_alone() -> None:
    begun = []
    for seed in (0, 0, 1):
        torch.manual_seed(5)
        model = pipelines.unet("sd1")
        state = torch.get_rng_state()
        attach(model, [Standard.of(pipelines.features(1, 50))], seed)
        assert torch.equal(torch.get_rng_state(), state)
        begun.append(state_dicts(model)[0]["image_proj.proj.weight"])
    assert torch.equal(begun[0], begun[1])
    assert not torch.equal(begun[0], begun[2])


def test_a_dimension_that_never_varies_is_left_as_it_is() -> None:
    features = pipelines.features(1, 50)
    features[:, 3] = 0.25
    standard = Standard.of(features)
    standardised = (features - standard.mean) / standard.deviation
    assert torch.allclose(standardised[:, 3], torch.zeros(50))
    assert torch.allclose(standardised[:, 4].std(correction=0), torch.ones(()), atol=1e-4)


def test_what_was_trained_is_what_plain_diffusers_loads(made: Made) -> None:
    ours, theirs = pipelines.trained(made.kind), opened(made.base, made.adapter).unet
    with torch.no_grad():
        wanted, base = (
            pipelines.predict(ours, made.kind),
            pipelines.unet(made.kind)(**pipelines.inputs(made.kind)).sample,
        )
        found = pipelines.predict(theirs, made.kind)
    assert (found - wanted).abs().max() < 1e-5
    assert (wanted - base).abs().max() > 0.01
    for again, file in zip(state_dicts(theirs), FILES, strict=True):  # what was loaded is saved as it was
        assert all(torch.equal(again[name], value) for name, value in load_file(made.adapter / file).items())


def test_a_file_has_the_names_and_numbers_of_ip_adapters(sd1: Made) -> None:
    tensors = load_file(sd1.adapter / FILES[0])
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert {name: shape for name, shape in shapes.items() if name.startswith("image_proj.")} == {
        "image_proj.proj.weight": (96, 768),
        "image_proj.proj.bias": (96,),
        "image_proj.norm.weight": (24,),
        "image_proj.norm.bias": (24,),
    }
    numbered = {name for name in shapes if name.startswith("ip_adapter.")}
    assert numbered == {f"ip_adapter.{place}.to_{kind}_ip.weight" for place in (1, 3, 5, 7) for kind in "kv"}
    assert {shapes[name] for name in numbered} == {(32, 24)}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_without_scale_the_picture_is_the_bases_bit_for_bit(made: Made, guidance: float) -> None:
    wanted = drawn(opened(made.base), guidance)
    pipeline = opened(made.base, made.adapter)
    pipeline.set_ip_adapter_scale([0.0, 0.0])
    assert np.array_equal(drawn(pipeline, guidance, **references(guidance)), wanted)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_each_scale_has_an_effect_of_its_own(made: Made, guidance: float) -> None:
    pipeline = opened(made.base, made.adapter)
    pictures = []
    for scales in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 1.0]):
        pipeline.set_ip_adapter_scale(scales)
        pictures.append(drawn(pipeline, guidance, **references(guidance)))
    for number, one in enumerate(pictures):
        assert all(np.abs(one - other).max() > 1e-3 for other in pictures[number + 1 :])


def test_an_adapter_that_is_loaded_and_saved_draws_the_same(made: Made, tmp_path: Path, bundle: Bundle) -> None:
    pipeline = opened(made.base, made.adapter)
    save(pipeline.unet, tmp_path / "again", bundle, made.kind)
    again = opened(made.base, tmp_path / "again")
    assert np.array_equal(drawn(again, **references()), drawn(pipeline, **references()))


def test_scales_of_single_blocks_work(made: Made) -> None:
    """As InstantStyle has them. A block that is not named has scale 0."""
    pipeline = opened(made.base, made.adapter)
    pictures = []
    for perceptual in (0.0, {"up": {"block_0": [0.0, 1.0]}}, {"up": 1.0, "down": 1.0, "mid": 1.0}, 1.0):
        pipeline.set_ip_adapter_scale([perceptual, 0.0])
        pictures.append(drawn(pipeline, **references()))
    none, one, all_named, whole = pictures
    assert np.abs(one - none).max() > 1e-3
    assert np.abs(one - whole).max() > 1e-3
    assert np.array_equal(all_named, whole)


def test_scales_are_set_without_a_pipeline() -> None:
    model = pipelines.trained("sd1")
    set_scales(model, [0.0, 0.0])
    with torch.no_grad():
        assert torch.equal(pipelines.predict(model, "sd1"), pipelines.unet("sd1")(**pipelines.inputs("sd1")).sample)


def test_a_base_in_half_precision_trains_adapters_in_full() -> None:
    model = pipelines.unet("sd1").to(torch.bfloat16)
    parameters = attach(model, [Standard.of(pipelines.features(seed, 50)) for seed in (1, 2)])
    assert {each.dtype for each in parameters} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        pipelines.predict(model, "sd1").float().square().mean().backward()
    assert all(each.grad is not None and each.grad.abs().max() > 0 for each in parameters)
    assert model.conv_in.weight.dtype == torch.bfloat16


def test_another_architecture_is_refused() -> None:
    class Transformer(nn.Module):
        config = None

    with pytest.raises(ConfigError, match="is a Transformer with cross_attention_dim None; take a UNet2D"):
        attach(Transformer(), [])
