"""`slimvec repair`: back to the last good state of a damaged model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from app.cli.options import errors_as_exit_codes, read_settings, setting_option

if TYPE_CHECKING:
    from app.service.recovery import Recovered


@click.command()
@click.argument("model")
@click.option("--recover", type=click.Choice(["last-good"]), help="do it; without, only say it")
@setting_option("models_dir")
@setting_option("device")
@setting_option("threads")
@setting_option("allow_divergent_replay")
def repair(model: str, recover: str | None, **given: Any) -> None:
    """Let MODEL go on from its last good state; what is damaged is set aside, never deleted.

    The server must not run: it replays the journal as the server would, so device and threads must
    be the server's. Without --recover nothing is changed.
    """
    from app.main import examine_model, repair_model

    with errors_as_exit_codes():
        act = repair_model if recover else examine_model
        recovered = act(read_settings(given), model)
    if not recovered.is_damaged:
        click.echo(f"{model}: nothing to repair")
        return
    for line in _story(model, recovered, "is" if recover else "would be"):
        click.echo(line)
    if not recover:
        click.echo(f"nothing was changed; to do so: slimvec repair {model} --recover=last-good")


def _story(model: str, recovered: Recovered, stands: str) -> list[str]:
    version = recovered.live.snapshot.stamp.version
    reach = f"checkpoint {recovered.checkpoint} and {recovered.num_changes} changes after it"
    lost = f"up to {recovered.num_lost} acknowledged changes" if recovered.num_lost else "nothing"
    aside = ["the journal", *(f"version {damaged}" for damaged in recovered.damaged)]
    return [
        *([recovered.fault.detail] if recovered.fault else []),
        *(f"version {damaged} of '{model}' is damaged" for damaged in recovered.damaged),
        f"{model} {stands} at version {version} now: {reach}",
        f"given up: {lost}",
        f"set aside in the model's folder, under .damaged-…: {', '.join(aside)}",
    ]
