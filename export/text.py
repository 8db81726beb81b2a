"""The text tower of a bundle: an ONNX graph and its tokenizer, for prompts at run time."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import open_clip
import regex
import torch
import torch.nn.functional as F
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn

from declip_rt.backends.onnxrt.session import open_session, session_options
from declip_rt.errors import EngineError
from export.graph import OPSET, TOLERANCE, strip_metadata
from train.model import ATTRIBUTES

COSINE = 0.999  # the lowest allowed, of features with the rounded and with the trained token embedding


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


class Tower(nn.Module):
    """tokens int64 (M, L) -> L2-normalised (M, D), by a copy of the model's text tower with a rounded embedding."""

    def __init__(self, model: CLIP) -> None:
        super().__init__()
        self.clip = copy.deepcopy(model).requires_grad_(False)
        (owner,) = (m for m in self.clip.modules() if isinstance(getattr(m, "token_embedding", None), nn.Embedding))
        owner.token_embedding = RoundedEmbedding(owner.token_embedding.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        text: Tensor = self.clip.encode_text(tokens, normalize=True)
        return text


def is_supported(name: str) -> bool:
    """Whether the open_clip model `name` reads text by CLIP's own tokenizer, in its usual way."""
    options = open_clip.get_model_config(name)["text_cfg"].get("tokenizer_kwargs")
    return isinstance(open_clip.get_tokenizer(name), SimpleTokenizer) and not options


@torch.no_grad()
def write_text(model: CLIP, name: str, path: Path) -> float:
    """Writes the text graph of the open_clip model `name`: `tokens` int64 (M, L) -> `text` float32 (M, D).

    The features are L2-normalised. Returns their lowest cosine with the model's own, over the attributes' prompts.

    Raises:
        EngineError: ONNX Runtime's features differ from torch's by more than TOLERANCE, or rounding the token embedding
            brought a cosine below COSINE; nothing is written.
    """
    texts = [text for _, _, pairs in ATTRIBUTES.values() for pair in pairs for text in pair]
    tokens = open_clip.get_tokenizer(name)(texts)
    tower = Tower(model).eval()
    program = torch.onnx.export(
        tower,
        (tokens[:2],),
        input_names=["tokens"],
        output_names=["text"],
        dynamic_shapes=({0: torch.export.Dim("M", min=1, max=4096)},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # as dynamo is asked for
    onnx.checker.check_model(program.model_proto, full_check=True)
    strip_metadata(program.model_proto.graph)
    graph = program.model_proto.SerializeToString()
    session = open_session(graph, session_options("fp32"))
    features = session.run(["text"], {"tokens": tokens.numpy()})[0]
    if (difference := float(np.abs(features - tower(tokens).numpy()).max())) > TOLERANCE:
        raise EngineError(f"the text features differ from torch's by {difference:.2e}, more than {TOLERANCE:.0e}")
    cosine = float((features * model.encode_text(tokens, normalize=True).numpy()).sum(1).min())
    if cosine < COSINE:
        raise EngineError(f"an int8 token embedding turns the text features: cosine {cosine:.4f}, less than {COSINE}")
    path.write_bytes(graph)
    return cosine


def write_tokenizer(path: Path) -> None:
    """Writes open_clip's SimpleTokenizer as a tokenizer.json of Hugging Face tokenizers. It takes cleaned text."""
    simple = SimpleTokenizer()
    letter, number, other = _class(r"\p{L}"), _class(r"\p{N}"), _class(r"[^\s\p{L}\p{N}]")
    words = f"'[s\u017f]|'t|'re|'ve|'m|'ll|'d|[{letter}]+|[{number}]|[{other}]+"  # U+017F is s when case is ignored
    tokenizer = Tokenizer(BPE(simple.encoder, list(simple.bpe_ranks), end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = Sequence(
        [Split(Regex(words), "removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    start, end = "<start_of_text>", "<end_of_text>"
    tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, simple.sot_token_id), (end, simple.eot_token_id)],
    )
    tokenizer.save(str(path), pretty=False)


def _class(pattern: str) -> str:
    """The characters that open_clip takes for `pattern`, as ranges. The tokenizers library knows an older Unicode."""
    characters = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    runs = (match[0] for match in regex.finditer(f"{pattern}+", characters, regex.IGNORECASE))
    return "".join(f"\\x{{{ord(run[0]):X}}}-\\x{{{ord(run[-1]):X}}}" for run in runs)
