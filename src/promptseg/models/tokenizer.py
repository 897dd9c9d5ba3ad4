"""CLIP's byte-pair tokenizer over the `tokenizers` library, for CLIP's own vocabulary and for small ones.

Text is lower-cased, white space is collapsed, words, single digits and runs of signs are split, and
each piece is written in bytes whose last carries the suffix `</w>`. All bytes are in the vocabulary,
so nothing is ever unknown.
"""

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
import torch
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from torch import Tensor

from promptseg.errors import PromptsegError
from promptseg.files import write_text
from promptseg.progress import LOG

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
_CLIP_MERGES = 49152 - 256 - 2
"""How many merges of the classic vocabulary file CLIP uses; the file holds more."""
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class Tokenizer:
    """Texts to token ids: BOS, the pieces, EOS, then EOS as padding. EOS is the largest id."""

    def __init__(self, inner: tokenizers.Tokenizer, source: str = "tokenizer") -> None:
        """Wrap a tokenizer of the library.

        Raises:
            PromptsegError: BOS or EOS is missing, or EOS is not the largest id, at which the encoder pools.
        """
        ids = [inner.token_to_id(token) for token in (BOS, EOS)]
        size = inner.get_vocab_size()
        if None in ids or ids[1] != size - 1:
            raise PromptsegError(f"{source}: ids of {BOS} and {EOS} are {ids}, expected {[size - 2, size - 1]}")
        inner.no_padding()
        inner.no_truncation()
        # A class called "<|endoftext|>" is a text like any other.
        inner.encode_special_tokens = True
        self._inner = inner
        self.bos, self.eos = (token_id for token_id in ids if token_id is not None)
        self.vocab_size: int = size

    @staticmethod
    def from_file(path: str | Path) -> "Tokenizer":
        """Read a `tokenizer.json` or CLIP's classic list of merges (`bpe_simple_vocab_16e6.txt.gz`).

        Raises:
            PromptsegError: the file is missing or is neither of the two.
        """
        path = Path(path)
        try:
            if path.suffix == ".json":
                return Tokenizer(tokenizers.Tokenizer.from_file(str(path)), str(path))
            return Tokenizer(clip_tokenizer(_read_merges(path)), str(path))
        except PromptsegError:
            raise
        except BaseException as error:
            # The library raises bare Exception, and on some broken files its own panic, which is not even one.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            if not path.is_file():
                raise PromptsegError(f"{path}: no such file") from None
            raise PromptsegError(
                f"{path}: not a tokenizer.json or a bpe_simple_vocab_16e6.txt.gz ({' '.join(str(error).split())})"
            ) from None

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`, atomically."""
        write_text(path, self._inner.to_str(pretty=True))

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text, without BOS and EOS."""
        return list(self._inner.encode(text, add_special_tokens=False).tokens)

    def encode(self, texts: Sequence[str], context_length: int) -> Tensor:
        """Ids (T, context_length) of T texts, int64; a longer text loses its end, which is said, but keeps EOS."""
        rows, cut = [], []
        for text, encoding in zip(texts, self._inner.encode_batch(list(texts), add_special_tokens=False), strict=True):
            kept = [self.bos, *encoding.ids[: context_length - 2], self.eos]
            rows.append(kept + [self.eos] * (context_length - len(kept)))
            if len(encoding.ids) > context_length - 2:
                cut.append(text)
        if cut:
            LOG.warning(
                "%d of %d texts lose their end: the text encoder reads %d pieces, and %r has more",
                len(cut), len(texts), context_length - 2, cut[0],
            )  # fmt: skip
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), context_length)


def clip_tokenizer(merges: Sequence[tuple[str, str]]) -> tokenizers.Tokenizer:
    """A tokenizer with CLIP's rules: bytes, bytes that end a word, one entry per merge, BOS, EOS."""
    letters = _byte_letters()
    entries = [*letters, *(letter + WORD_END for letter in letters), *("".join(pair) for pair in merges)]
    vocabulary = {entry: index for index, entry in enumerate(dict.fromkeys([*entries, BOS, EOS]))}
    inner = untrained(models.BPE(vocab=vocabulary, merges=list(merges), end_of_word_suffix=WORD_END))
    inner.add_special_tokens([AddedToken(BOS, special=True), AddedToken(EOS, special=True)])
    return inner


def untrained(model: models.BPE) -> tokenizers.Tokenizer:
    """CLIP's rules of cleaning and splitting around a model."""
    inner = tokenizers.Tokenizer(model)
    inner.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(), normalizers.Lowercase()]
    )
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    return inner


def _byte_letters() -> list[str]:
    """One printable letter per byte, in the order of CLIP's ids: printable bytes first, then the rest."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(256 - len(printable))]


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Pairs of the classic file: a header line, then one pair a line."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return list(_pairs(stream.read().splitlines()[1 : _CLIP_MERGES + 1]))


def _pairs(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        first, second = line.split()
        yield first, second
