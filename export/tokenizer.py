"""The tokenizer of a bundle, as a tokenizer.json of Hugging Face tokenizers. It takes cleaned text."""

from __future__ import annotations

from pathlib import Path

import open_clip
import regex
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE, WordPiece
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.processors import TemplateProcessing


def is_supported(name: str) -> bool:
    """Whether a bundle can hold the text tower of the open_clip model `name`.

    That is one with CLIP's own tokenizer, or BERT's with mean pooling, each in its usual way.
    """
    config, tokenizer = open_clip.get_model_config(name)["text_cfg"], open_clip.get_tokenizer(name)
    if config.get("tokenizer_kwargs"):
        return False
    if isinstance(tokenizer, HFTokenizer):
        theirs = tokenizer.tokenizer
        pieces = isinstance(getattr(getattr(theirs, "backend_tokenizer", None), "model", None), WordPiece)
        return pieces and theirs.pad_token_id == 0 and config.get("hf_pooler_type") == "mean_pooler"
    return isinstance(tokenizer, SimpleTokenizer)


def write_tokenizer(name: str, path: Path) -> None:
    """Writes the tokenizer of the open_clip model `name`, which is_supported. It neither cuts nor pads."""
    tokenizer = open_clip.get_tokenizer(name)
    if isinstance(tokenizer, HFTokenizer):
        made = Tokenizer.from_str(tokenizer.tokenizer.backend_tokenizer.to_str())
        made.no_truncation()
        made.no_padding()
    else:
        made = _clips()
    made.save(str(path), pretty=False)


def _clips() -> Tokenizer:
    """open_clip's SimpleTokenizer."""
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
    return tokenizer


def _class(pattern: str) -> str:
    """The characters that open_clip takes for `pattern`, as ranges. The tokenizers library knows an older Unicode."""
    characters = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    runs = (match[0] for match in regex.finditer(f"{pattern}+", characters, regex.IGNORECASE))
    return "".join(f"\\x{{{ord(run[0]):X}}}-\\x{{{ord(run[-1]):X}}}" for run in runs)
