"""What data hold, in a form that a run stores and later compares with what it finds."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# The number of names that a message shows.
SHOWN = 3


class Part(NamedTuple):
    """The training or the held-out part of data.

    Attributes:
        num: The number of images.
        digest: The SHA-256 of what the images hold, in hexadecimal digits.
        names: The digest of each file by its name; empty where images have no names.
    """

    num: int
    digest: str
    names: Mapping[str, str]


class Contents(NamedTuple):
    """Both parts of data, and how they were divided.

    Attributes:
        train: The part to train from.
        held_out: The part that is never trained on.
        divided_here: Whether this program chose the held-out part. Version 0.1.0 chose other images.
    """

    train: Part
    held_out: Part
    divided_here: bool = False

    def as_json(self) -> dict[str, Any]:
        """Returns the parts as plain JSON, as `changes` takes them."""
        return {name: part._asdict() for name, part in (("train", self.train), ("held_out", self.held_out))}


def digest_of(*parts: np.ndarray | str) -> str:
    """Returns the SHA-256 of arrays (dtype, shape and bytes) and texts, in hexadecimal digits."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            found.update(part.encode("utf-8", "surrogateescape"))
        else:
            found.update(f"{part.dtype}{part.shape}".encode())
            found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()


def part_of(digests: np.ndarray, names: Sequence[str] = ()) -> Part:
    """Returns the part of data whose images have these digests, uint64 `[N]`, and names."""
    by_name = {name: f"{digest:016x}" for name, digest in zip(names, digests.tolist(), strict=True)} if names else {}
    return Part(len(digests), digest_of(digests, *names), by_name)


def changes(stored: Mapping[str, Any], now: Contents) -> str:
    """Returns how data differ from those that a run was trained on; an empty text if they do not.

    Args:
        stored: The earlier contents, as `Contents.as_json` gave them.
        now: The contents that were found now.
    """
    then, found = ({name: Part(**parts[name]) for name in ("train", "held_out")} for parts in (stored, now.as_json()))
    if all(then[name].digest == found[name].digest for name in then):
        return ""
    old, new = ({**parts["train"].names, **parts["held_out"].names} for parts in (then, found))
    said = [f"{sum(p.num for p in found.values()):,} images, and {sum(p.num for p in then.values()):,} at training"]
    if old and new:
        said += _listed("added", new.keys() - old.keys()) + _listed("removed", old.keys() - new.keys())
        said += _listed("changed", (name for name in new.keys() & old.keys() if new[name] != old[name]))
        trained = set(then["train"].names.values()) & set(found["held_out"].names.values())
        said += [f"{len(trained):,} of the images that are held out now were trained on"] if trained else []
    elif all(then[name].num == found[name].num for name in then):
        said += ["their pixels, labels or order have changed"]
    return "; ".join(said)


def _listed(what: str, names: Iterable[str]) -> list[str]:
    return [f"{what}: {listed(sorted(names))}"] if (names := list(names)) else []


def listed(names: Sequence[str]) -> str:
    """Returns the first of some names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(shown(name) for name in names[:SHOWN]) + more


def shown(name: object) -> str:
    """Returns a file's name as it can be printed on one line: a name may hold line breaks and bytes of any encoding."""
    text = str(name)
    return text if text.isprintable() else ascii(text)
