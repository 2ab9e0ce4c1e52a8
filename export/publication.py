"""An artifact appears under its name as a whole, or not at all."""

import contextlib
import os
import shutil
from pathlib import Path


@contextlib.contextmanager
def published(path, overwrite=False):
    """Gives a temporary path, and moves what was written there to `path`.

    On an error nothing is published, and nothing is left over. What a killed
    process leaves, the next one for the same path sets right.

    Args:
        path: Where the file or folder is to appear.
        overwrite: Bool. Replace what is there.
    """
    path = Path(path)
    # In the same folder, so that a move is one rename on one disk.
    temporary = path.with_name(f".{path.name}.partial")
    replaced = path.with_name(f".{path.name}.replaced")
    _tidy(path, temporary, replaced)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"There is something at {path} already. Pass `overwrite=True`, in a shell "
            "`--overwrite`, to replace it, or choose another place."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        if path.is_dir():  # a rename replaces files, but not folders
            os.rename(path, replaced)
        os.replace(temporary, path)
    finally:
        _tidy(path, temporary, replaced)


def _tidy(path, temporary, replaced):
    if replaced.exists() and not path.exists():
        os.rename(replaced, path)
    for leftover in (temporary, replaced):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
