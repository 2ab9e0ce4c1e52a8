"""Pretrained classifiers: `.keras` files, each with a model card beside it."""

import difflib
from pathlib import Path

import keras

FOLDER = Path(__file__).parent
# Name -> the first line of its card.
PRESETS = {
    card.stem: card.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
    for card in sorted(FOLDER.glob("*.md"))
}


def load(preset):
    """Loads a preset by name, or a `.keras` file by path, not compiled.

    Raises:
        ValueError: If there is no such preset or file, or if it is damaged.
    """
    path = FOLDER / f"{preset}.keras" if preset in PRESETS else Path(preset)
    if not path.is_file():
        near = difflib.get_close_matches(str(preset), PRESETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"There is no preset and no file {str(preset)!r}.{hint} Presets: "
            f"{', '.join(PRESETS) or 'none'}."
        )
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        if "Could not locate class" in str(error):
            raise ValueError(
                f"{path} holds a class that this process does not know. Import the "
                "module that registers it first. Artifacts of JAX and PyTorch are "
                "written by a process of their own: export such a model on the "
                f"TensorFlow backend. ({error})"
            ) from error
        raise ValueError(
            f"{path} could not be loaded. Is the file damaged, or not a `.keras` "
            f"file? ({error})"
        ) from error
