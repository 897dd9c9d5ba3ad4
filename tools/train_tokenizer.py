"""Learn the tokenizer of seem-lite from the words of tokenizer_words.txt: writes the file of the package again.

The merges are learned here, not by the library's trainer: that one breaks ties by the order of a hash
map as soon as words carry an ending, so no two of its runs agree.
"""

from collections import Counter
from itertools import pairwise
from pathlib import Path

from promptseg.assets import LITE_FOLDER
from promptseg.models.seem.config import NAMED
from promptseg.models.tokenizer import WORD_END, Tokenizer, clip_tokenizer

WORDS = Path(__file__).with_name("tokenizer_words.txt")
BUNDLED = LITE_FOLDER / "tokenizer.json"
BASE = 2 * 256 + 2
"""Entries that are no merge: bytes, bytes that end a word, BOS and EOS."""

Pair = tuple[str, str]
Pieces = tuple[str, ...]


def train_tokenizer(vocab_size: int, words: Path = WORDS) -> Tokenizer:
    """A tokenizer with CLIP's rules and `vocab_size` entries, the same one at each call."""
    counts = read_counts(words)
    pieces = {(*word[:-1], word[-1] + WORD_END): count for word, count in counts.items()}
    return Tokenizer(clip_tokenizer(learn_merges(pieces, vocab_size - BASE)), str(words))


def read_counts(words: Path) -> dict[str, int]:
    """Weight of each word: the number in brackets above it, or the sum where it occurs twice."""
    counts: Counter[str] = Counter()
    weight = 1
    for line in words.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            weight = int(line.strip("[]"))
        elif not line.startswith("#"):
            counts.update(dict.fromkeys(line.split(), weight))
    return counts


def learn_merges(counts: dict[Pieces, int], number: int) -> list[Pair]:
    """Byte-pair encoding: join the most frequent pair, again and again; ties by the pair's text."""
    merges: list[Pair] = []
    while len(merges) < number:
        pairs: Counter[Pair] = Counter()
        for pieces, count in counts.items():
            for pair in pairwise(pieces):
                pairs[pair] += count
        if not pairs:
            raise ValueError(f"the words give {len(merges)} merges, {number} are needed: add words")
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        counts = {joined(pieces, best): count for pieces, count in counts.items()}
    return merges


def joined(pieces: Pieces, pair: Pair) -> Pieces:
    """The pieces with each occurrence of the pair made one."""
    out: list[str] = []
    for piece in pieces:
        if out and (out[-1], piece) == pair:
            out[-1] = pair[0] + pair[1]
        else:
            out.append(piece)
    return tuple(out)


if __name__ == "__main__":
    train_tokenizer(NAMED[LITE_FOLDER.name].text.vocab).save(BUNDLED)
