"""The codec is exact, and its channels have the deviations that it promises."""

import torch

from train.dp_adapter.codec import CHANNELS, GAINS, Codec, basis


def pictures() -> torch.Tensor:
    return torch.rand(50, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_decoding_gives_the_picture_back():
    codec = Codec.of(pictures())
    assert codec.encode(pictures()).shape == (50, CHANNELS, 4, 4)
    assert torch.allclose(codec.decode(codec.encode(pictures())), pictures(), atol=1e-5)


def test_the_basis_is_orthonormal():
    assert torch.allclose(basis() @ basis().T, torch.eye(16), atol=1e-6)


def test_low_frequencies_stand_out():
    spread = Codec.of(pictures()).encode(pictures()).std((0, 2, 3)).reshape(3, 4, 4)
    assert torch.allclose(spread[:, 0, 0], torch.tensor(GAINS[0]), rtol=0.01)
    assert torch.allclose(spread[:, 0, 1], torch.tensor(GAINS[1]), rtol=0.01)
    assert torch.allclose(spread[:, 3, 3], torch.tensor(1.0), rtol=0.01)
