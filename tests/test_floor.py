"""The lowest versions that `setup.cfg` allows are those that `.ci/run` tries."""

import configparser
from pathlib import Path

from packaging.requirements import Requirement

FLOOR = Path(__file__).with_name("floor.txt")


def read(lines):
    """Requirements by name, those of the package itself left out."""
    requirements = [
        Requirement(line) for line in lines if line and not line.startswith("#")
    ]
    return {r.name: r.specifier for r in requirements if r.name != "keras_ram"}


def test_the_floor_is_pinned_as_setup_cfg_allows():
    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg")
    texts = [
        config["options"]["install_requires"],
        *config["options.extras_require"].values(),
    ]
    allowed = read("\n".join(texts).splitlines())
    pinned = read(FLOOR.read_text().splitlines())
    assert {name: str(bounds) for name, bounds in allowed.items()} == {
        name: str(version).replace("==", ">=") for name, version in pinned.items()
    }
