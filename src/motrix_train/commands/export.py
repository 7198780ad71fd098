"""`motrix-train export`: a policy as a file that needs nothing of this project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motrix_train.commands.options import Imports, Pretrained, Target
from motrix_train.export import export as exporting
from motrix_train.policies import TrainedPolicy


def export(
    target: Target,
    pretrained: Pretrained = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="As ONNX, the only format and the default.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where to, .onnx; by default beside the policy, a ready-made one here.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write the MuJoCo model of the environment as well, .xml."),
    ] = None,
    imports: Imports = None,
) -> None:
    """Writes a policy as one file, from the raw observation to the action.

    Its actions are compared with those of the policy before it is kept.

    Example: motrix-train export Motrix/Go1-v0 --output go1.onnx --model go1.xml
    """
    exporting.require_onnx()
    for path, suffix in ((output, ".onnx"), (model, ".xml")):
        if path is not None:
            exporting.check_path(path, suffix)
    trained = TrainedPolicy.open(target, ready_made=pretrained)
    path = output or (Path(trained.path.stem) if pretrained else trained.path).with_suffix(".onnx")
    replaced = " (replaced)" if path.exists() else ""
    written = exporting.export(trained.checkpoint, trained.policy, path)
    print(f"{trained.path} -> {path}{replaced}, from observation to {' and '.join(written.outputs)}")
    print(
        f"On {written.observations} observations its actions differ from those of the {trained.checkpoint.backend} "
        f"policy by {written.difference:.1e} at most"
    )
    if model is not None:
        exporting.write_model(trained.checkpoint, model)
        print(f"The model of {trained.checkpoint.env_id} -> {model}")
