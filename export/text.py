"""The text tower of a bundle as an ONNX graph, for prompts at run time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import open_clip
import torch
import torch.nn.functional as F
from open_clip import CLIP
from open_clip.hf_model import HFTextEncoder
from torch import Tensor, nn

from declip_rt.backends.onnxrt.session import open_session, session_options
from declip_rt.errors import EngineError
from export.graph import OPSET, TOLERANCE, strip_metadata
from export.probes import TOPICS, probes

COSINE = 0.999  # the lowest allowed, of features with rounded and with trained weights
FAMILIAR = 0.0  # a text of lower familiarity is nearer to a topic than to any words for looks
BLOCK = 8  # weights of a row that share a scale; 16 turn a short text by a cosine of 0.9987, a whole row by 0.996
BATCH = 64  # texts that are encoded together


class RoundedEmbedding(nn.Module):
    """An embedding table as int8 rows, each with its scale. It takes a quarter of the size.

    The table is most of a small text tower. A weight moves by at most 1/254 of the largest one in its row.
    """

    rows: Tensor  # int8 (vocabulary, W)
    scales: Tensor  # float32 (vocabulary, 1)

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        scales = weight.abs().amax(1, keepdim=True).clamp_min(1e-30) / 127
        self.register_buffer("rows", (weight / scales).round().to(torch.int8))
        self.register_buffer("scales", scales)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.rows).float() * F.embedding(tokens, self.scales)


class RoundedLinear(nn.Module):
    """A linear layer whose weights are stored as int8, with an FP16 scale for each BLOCK of a row.

    It multiplies in float: 8-bit activations turn the features of a sentence encoder by a cosine of 0.975, and a CPU
    without VNNI adds 8-bit products up in too few bits.
    """

    blocks: Tensor  # int8 (out, in / BLOCK, BLOCK)
    scales: Tensor  # float16 (out, in / BLOCK, 1)
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().reshape(linear.out_features, -1, BLOCK)
        scales = (weight.abs().amax(2, keepdim=True) / 127).clamp_min(torch.finfo(torch.float16).tiny).half()
        self.register_buffer("blocks", (weight / scales.float()).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scales", scales)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, (self.blocks.float() * self.scales.float()).flatten(1), self.bias)


class Tower(nn.Module):
    """tokens int64 (M, L) -> text (M, D), L2-normalised, and familiarity (M,), by a copy with rounded weights.

    Familiarity is the largest cosine of a text with the `known` ones, which say how photos look, less the largest with
    the TOPICS. A sentence encoder's cosines are taken before its projection, which has learned from photos alone.
    """

    known: Tensor  # float16 (K, W)
    topics: Tensor  # float16 (T, W)

    def __init__(self, model: CLIP, name: str, known: Sequence[str]) -> None:
        super().__init__()
        self.clip = copy.deepcopy(model).requires_grad_(False).eval()
        self.proj: nn.Module = nn.Identity()
        tokenizer = open_clip.get_tokenizer(name)
        if isinstance(encoder := getattr(self.clip, "text", None), HFTextEncoder):
            self.proj, encoder.proj = encoder.proj, self.proj
            _round(encoder.transformer, tokenizer.context_length)
        else:
            _round_embedding(self.clip, "token_embedding")
        for anchors, texts in (("known", known), ("topics", TOPICS)):
            self.register_buffer(anchors, F.normalize(encode(self._sentence, tokenizer(list(texts))), dim=-1).half())

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        sentence = self._sentence(tokens)
        direction = F.normalize(sentence, dim=-1)
        known, topics = ((direction @ anchors.float().T).amax(1) for anchors in (self.known, self.topics))
        return F.normalize(self.proj(sentence), dim=-1), known - topics

    def _sentence(self, tokens: Tensor) -> Tensor:
        sentence: Tensor = self.clip.encode_text(tokens)
        return sentence


def _round(transformer: nn.Module, context: int) -> None:
    """Rounds the matrices of a BERT in place, and cuts the position embedding to the tokens that are read."""
    embeddings = _round_embedding(transformer, "word_embeddings")
    places = embeddings.position_embeddings
    places.weight = nn.Parameter(places.weight[:context], requires_grad=False)
    for module in list(transformer.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear) and child.in_features % BLOCK == 0:
                setattr(module, name, RoundedLinear(child))


def _round_embedding(model: nn.Module, name: str) -> Any:
    """Rounds the embedding of this name in place, and returns the module that has it."""
    (owner,) = (module for module in model.modules() if isinstance(getattr(module, name, None), nn.Embedding))
    setattr(owner, name, RoundedEmbedding(getattr(owner, name).weight))
    return owner


def encode(encoder: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """The features (M, W) of tokens (M, L), BATCH at a time."""
    return torch.cat([encoder(batch) for batch in torch.split(tokens, BATCH)])


@torch.no_grad()
def write_text(model: CLIP, name: str, path: Path, known: Sequence[str]) -> float:
    """Writes the text graph of the open_clip model `name`, and returns the lowest cosine with the model's own features.

    `tokens` int64 (M, L) -> `text` float32 (M, D), L2-normalised, and `familiarity` float32 (M,). The cosine is over
    `export.probes`: English of many kinds.

    known: texts that say how photos look, as the model learned them.

    Raises:
        EngineError: ONNX Runtime's outputs differ from torch's by more than TOLERANCE, or rounding the weights brought
            a cosine below COSINE; nothing is written.
    """
    texts = probes(known)
    tokens = open_clip.get_tokenizer(name)(texts)
    batches = torch.split(tokens, BATCH)
    tower = Tower(model, name, known).eval()
    rounded = [torch.cat(parts) for parts in zip(*(tower(batch) for batch in batches), strict=True)]
    cosines = (rounded[0] * encode(lambda batch: model.encode_text(batch, normalize=True), tokens)).sum(1)
    if not (cosine := cosines.min().item()) >= COSINE:  # true of NaN, too
        worst = texts[int(cosines.argmin())]
        raise EngineError(f"8-bit weights turn the feature of {worst!r}: cosine {cosine:.4f}, less than {COSINE}")
    graph = _graph(tower, tokens[:2])
    session = open_session(graph, session_options("fp32"))
    outputs = [session.run(["text", "familiarity"], {"tokens": batch.numpy()}) for batch in batches]
    for theirs, ours in zip(rounded, zip(*outputs, strict=True), strict=True):
        if not (difference := float(np.abs(np.concatenate(ours) - theirs.numpy()).max())) <= TOLERANCE:
            raise EngineError(f"the text tower differs from torch's by {difference:.2e}, more than {TOLERANCE:.0e}")
    path.write_bytes(graph)
    return cosine


def _graph(tower: Tower, tokens: Tensor) -> bytes:
    """The tower in ONNX. tokens: an example (2, L)."""
    program = torch.onnx.export(
        tower,
        (tokens,),
        input_names=["tokens"],
        output_names=["text", "familiarity"],
        dynamic_shapes=({0: torch.export.Dim("M", min=1, max=4096)},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # as dynamo is asked for
    proto = program.model_proto  # a new one each time
    onnx.checker.check_model(proto, full_check=True)
    strip_metadata(proto.graph)
    graph: bytes = proto.SerializeToString()
    return graph
