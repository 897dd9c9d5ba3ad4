"""Which photo to label next, and why: first what is typical, then where the model knows least."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

MOST_GROUPS = 8


@dataclass(frozen=True)
class Offer:
    """A photo to label, and the reason in words."""

    id: str
    why: str


@dataclass(frozen=True)
class Glance:
    """A quick answer for the list and the grid.

    Attributes:
        labels: (h, w) uint8 class ids, at a small size.
        sureness: mean over the pixels of the best class's probability minus the second's, 0..1.
    """

    labels: NDArray[np.uint8]
    sureness: float


@dataclass(frozen=True)
class Outlook:
    """What is known of a photo before anyone labels it.

    Attributes:
        summary: (D,), what it looks like to the model.
        sureness: how sure the model is of its answer, 0..1.
        change: share of its pixels whose class changed with the last learning, 0..1.
    """

    summary: NDArray[np.float32]
    sureness: float
    change: float


def groups(summaries: NDArray[np.float32], seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Photos that look alike: k-means on scaled summaries (N, D), k = the root of N, at most `MOST_GROUPS`.

    Returns:
        The group of each photo, (N,), and its distance from the middle of its group, (N,).
    """
    scaled = (summaries - summaries.mean(0)) / (summaries.std(0) + 1e-6)
    count = min(MOST_GROUPS, max(1, round(len(summaries) ** 0.5)))
    middles, group = kmeans2(scaled.astype(np.float64), count, minit="++", rng=np.random.default_rng(seed))
    return group.astype(np.int32), np.linalg.norm(scaled - middles[group], axis=1)


def offers(outlooks: Mapping[str, Outlook], labelled: Collection[str], seed: int = 0) -> list[Offer]:
    """The photos still to label, the most useful first.

    First the most typical photo of every group without a labelled one, large groups first. Then all others: where the
    model is least sure, or changed its mind most with the last learning.
    """
    ids = list(outlooks)
    if not ids:
        return []
    group, distance = groups(np.stack([outlooks[i].summary for i in ids]), seed)
    typical = _typical(ids, group, distance, labelled)
    taken = {offer.id for offer in typical} | set(labelled)
    rest = sorted((i for i in ids if i not in taken), key=lambda i: _doubt(outlooks[i]), reverse=True)
    return typical + [Offer(i, _why(outlooks[i])) for i in rest]


def _typical(
    ids: list[str], group: NDArray[np.int32], distance: NDArray[np.float64], labelled: Collection[str]
) -> list[Offer]:
    sizes = np.bincount(group)
    found = []
    for number in np.argsort(-sizes, kind="stable"):
        members = [k for k in np.flatnonzero(group == number) if ids[k] not in labelled]
        if members and len(members) == sizes[number]:
            middle = min(members, key=lambda k: distance[k])
            alike = "the only one of its kind" if sizes[number] == 1 else f"typical of {sizes[number]} that look alike"
            found.append(Offer(ids[middle], f"{alike}, none of them labelled yet"))
    return found


def _doubt(outlook: Outlook) -> float:
    return 1 - outlook.sureness + outlook.change


def _why(outlook: Outlook) -> str:
    if outlook.change > 1 - outlook.sureness:
        return f"the model changed its mind on {100 * outlook.change:.0f} % of it"
    return f"the model is unsure here (margin {outlook.sureness:.2f})"
