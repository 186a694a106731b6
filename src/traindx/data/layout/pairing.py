"""The image of a mask, by the words that their paths share.

Nothing is known of the words themselves. A word of a mask's path that occurs in the path of any image must occur in
the path of *its* image; what only masks say (``seg``, ``manual1``, ``liver``) says nothing. That finds mirrored
folders, suffixes, prefixes, one folder a case and many masks an image alike. A mask whose own number no image knows
stays alone, however much else is shared.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from traindx.data.names import CHANNEL, MODALITY_WORDS, without_suffix

_SEPARATED = re.compile(r"[A-Za-z0-9.]+")
_FINE = re.compile(r"[A-Za-z]+|\d+")
_HEX = re.compile(r"^[0-9a-f]{8,}$", re.IGNORECASE)


def coarse(path: str) -> tuple[str, ...]:
    """Folders whole, the name in words: ``test/images/01_test.tif`` gives ``test``, ``images``, ``01``, ``test``."""
    *folders, base = path.lower().split("/")
    return (*folders, *_SEPARATED.findall(without_suffix(base).replace("_", " ")))


def fine(path: str) -> tuple[str, ...]:
    """Letters and digits apart, folders too: ``img1`` and ``mask1`` share ``1``."""
    folder, _, base = path.lower().rpartition("/")
    return tuple(_FINE.findall(folder + "/" + without_suffix(base)))


Words = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Place:
    """One image or mask: its number in the store, its path, its split (empty where unknown)."""

    number: int
    path: str
    split: str = ""


@dataclass
class _Index:
    """Images by the words of their paths."""

    places: list[Place] = field(default_factory=list)
    words: list[Counter[str]] = field(default_factory=list)
    posting: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: Place, said: tuple[str, ...]) -> None:
        counted = Counter(said)
        for word in counted:
            self.posting[word].append(len(self.places))
        self.places.append(place)
        self.words.append(counted)

    def rare(self, word: str) -> bool:
        """True for a word that tells cases apart: it has a digit, or hardly anybody else has it."""
        return _identifies(word, len(self.posting[word]), len(self.places))

    def cases_apart(self, images: list[int]) -> bool:
        """True if several images each have a number of their own, and not all of these are those of channels."""
        if len(images) < 2:
            return False
        counts = Counter(word for image in images for word in self.words[image])
        own = [{word for word in self.words[image] if counts[word] == 1 and _numbered(word)} for image in images]
        return all(own) and not all(CHANNEL.match(word) for words in own for word in words)

    def names_a_case(self, word: str, shared: str) -> bool:
        """True for a word that only occurs together with another one, as a case's own number does.

        The name of a channel (``flair``, ``0001``) occurs in other cases too.
        """
        if not (any(letter.isdigit() for letter in word) or _HEX.match(word) or len(self.posting[word]) == 1):
            return False
        posted = self.posting[word]
        return len(posted) <= len(self.posting[shared]) and all(self.words[image][shared] for image in posted)


def _numbered(word: str) -> bool:
    return any(letter.isdigit() for letter in word) and word not in MODALITY_WORDS


def _identifies(word: str, count: int, total: int) -> bool:
    if any(letter.isdigit() for letter in word):
        return total <= 1 or count <= 0.5 * total
    return bool(_HEX.match(word)) or (count == 1 and total >= 3)


def pair(masks: Iterable[Place], images: Iterable[Place], others: Iterable[str] = ()) -> Iterator[tuple[int, int]]:
    """Numbers of masks and of their images. A mask may have several (channels), an image many masks.

    Args:
        masks: Masks without an image.
        images: All images.
        others: Paths of masks that have an image already: what most masks say tells no case apart.
    """
    rest, known, paired = list(masks), list(images), list(others)
    for words in (coarse, fine):
        if not rest or not known:
            return
        indices: dict[str, _Index] = {}
        said = Counter(word for path in paired for word in set(words(path)))
        counts = said + Counter(word for mask in rest for word in set(words(mask.path)))
        alone: list[Place] = []
        for mask in rest:
            index = indices.get(mask.split)
            if index is None:
                index = indices[mask.split] = _Index()
                for image in known:
                    if not (mask.split and image.split and mask.split != image.split):
                        index.add(image, words(image.path))
            found = _images_of(mask, words, counts, len(rest) + len(paired), index)
            if not found:
                alone.append(mask)
            yield from ((mask.number, index.places[image].number) for image in found)
        rest = alone


def _images_of(mask: Place, words: Words, counts: Counter[str], total: int, index: _Index) -> list[int]:
    said = words(mask.path)
    shared = Counter(word for word in said if word in index.posting)
    if not shared:
        return []
    rarest = min(shared, key=lambda word: len(index.posting[word]))
    fits = [image for image in index.posting[rarest] if all(index.words[image][word] >= 1 for word in shared)]
    if not fits:
        return []
    extra = {image: sum((index.words[image] - shared).values()) for image in fits}
    least = min(extra.values())
    best = [image for image in fits if extra[image] == least]
    own = [word for word in said if word not in index.posting and _identifies(word, counts[word], total)]
    others = {word for image in best for word in index.words[image] if word not in shared}
    if own and any(index.names_a_case(word, rarest) for word in others):
        return []  # mask and image each have a name of their own: another case
    named = words(mask.path.rpartition("/")[2])
    if any(word.isdigit() for word in own if word in named) and any(word in shared for word in named):
        return []  # a number in the name that no image has: p_1_2 is not p_1
    if not any(index.rare(word) for word in shared) and (len(index.places) > len(best) or index.cases_apart(best)):
        return []  # all that is shared is shared by everybody
    return best
