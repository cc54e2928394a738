"""Says what would run here."""

import click


@click.command()
def doctor() -> None:
    """Say what judges would run on here, why not on a GPU, and which precision to export for this machine.

    \b
    Example:
        lager doctor
    """
    from lager_onnx.runtime.doctor import Machine  # noqa: PLC0415

    for about, said in Machine.examine().lines():
        click.echo(f"{about:14} {said}")
