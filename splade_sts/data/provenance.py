"""Where the raw rows came from, as `download` writes it down."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from splade_sts import layout
from splade_sts.files import read_json, write_json
from splade_sts.layout import Split


@dataclass(frozen=True)
class Origin:
    """Where the rows of a split came from.

    Attributes:
        file: the file's name, as `splade_sts.errors.shown` writes it.
        sha256: the hash of the file.
        rows: how many there are.
    """

    file: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class SetOrigin:
    """Where the rows of a further test set came from.

    Attributes:
        source: its `source`: an id on the Hub, or `local`.
        config, split: what was taken of a data set on the Hub; None for a file.
        revision: the Hub's commit hash; None for a file.
        rows: the rows.
    """

    source: str
    config: str | None
    split: str | None
    revision: str | None
    rows: Origin


@dataclass(frozen=True)
class Provenance:
    """Where the data came from.

    Attributes:
        source: `data.source`.
        revision: the Hub's commit hash; None for files.
        splits: by split.
        test_sets: the further test sets, by name.
    """

    source: str
    revision: str | None
    splits: dict[Split, Origin]
    test_sets: dict[str, SetOrigin] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it beside the rows, into `folder`."""
        write_json(folder / layout.PROVENANCE.name, asdict(self))

    @classmethod
    def read(cls) -> "Provenance":
        """Read what `download` wrote.

        Raises:
            pydantic.ValidationError: it is of another version.
        """
        return TypeAdapter(cls).validate_python(read_json(layout.PROVENANCE))
