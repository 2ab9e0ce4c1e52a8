"""Runs of examples that are stopped and go on."""

import json


def begin_run(folder, options, others):
    """Begins a run in a folder, or goes on with the one that was begun there.

    A run does not go on with other settings, and a finished one is not repeated.

    Args:
        folder: Path, made if it is not there.
        options: What the command line gave.
        others: Names of options that do not decide a run.

    Returns:
        Dict of the options that do.
    """
    if (folder / "result.json").exists():
        raise SystemExit(f"{folder} holds a finished run. Move it away to repeat it.")
    folder.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in vars(options).items() if k not in others}
    file, text = folder / "settings.json", json.dumps(settings)
    if file.exists() and file.read_text() != text:
        raise SystemExit(
            f"{folder} was begun with {file.read_text()}. Received: {text}. "
            "Move it away, or choose another --output."
        )
    file.write_text(text)
    return settings
