"""Sentences that have almost the words of another one."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from splade_sts.text import words

# Two sentences are nearly the same where so much of all their words is shared (Jaccard), as a
# fraction: nothing is rounded.
SHARED, ALL = 4, 5


def nearly_known(sentences: Iterable[str], known: Iterable[str]) -> set[str]:
    """Those of `sentences` that have nearly the words of one of `known`: the two sets of words have
    a Jaccard index of at least 4/5. A sentence without words has none.

    Exact, though not every two are compared (prefix filter: Chaudhuri, Ganti & Kaushik 2006, "A
    Primitive Operator for Similarity Joins in Data Cleaning"). Each of two such sets lacks at most
    a fifth of the other. So, with all words in one order, the first words of each set, one more
    than that fifth, have one in common; the rarest words go first. `known` is read once and not
    kept.
    """
    waiting: dict[frozenset[str], list[str]] = defaultdict(list)
    for text in sentences:
        if bag := frozenset(words(text)):
            waiting[bag].append(text)
    counts = Counter(word for bag in waiting for word in bag)

    def rarest(bag: frozenset[str]) -> list[str]:
        ordered = sorted(bag, key=lambda word: (counts[word], word))
        return ordered[: len(bag) - -(-SHARED * len(bag) // ALL) + 1]

    holding: dict[str, set[frozenset[str]]] = defaultdict(set)
    for bag in waiting:
        for word in rarest(bag):
            holding[word].add(bag)
    found: set[str] = set()
    for text in known:
        other = frozenset(words(text))
        candidates = {bag for word in rarest(other) for bag in holding.get(word, ())}
        for bag in candidates:
            if ALL * len(bag & other) >= SHARED * len(bag | other):
                found.update(waiting[bag])
                for word in rarest(bag):
                    holding[word].discard(bag)
    return found
