"""``otherwise serve``: MONAI Label's server with a classifier and its agent."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from otherwise.errors import OtherwiseError
from otherwise.resources import app_folder
from otherwise.tokens import read_tokens


class ServeError(OtherwiseError):
    """The server cannot be started as asked."""

    code = "serve"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def serve(
        studies: Annotated[str, typer.Option(help="Folder of images, or address of a DICOMweb server.")],
        classifier: Annotated[
            str, typer.Option(help="Bundle of the classifier, or a shipped bundle's name.")
        ] = "mammogram_classifier",
        agent: Annotated[
            str, typer.Option(help="Bundle of its agent, or a shipped bundle's name.")
        ] = "mammogram_agent",
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8000,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        state: Annotated[
            Path | None, typer.Option(help="Folder for explanations and uploads. Default: beside the studies.")
        ] = None,
        database: Annotated[
            str | None, typer.Option(help="SQLite file or PostgreSQL URL for what people say. Default: in the state.")
        ] = None,
        vocabulary: Annotated[
            str | None, typer.Option(help="Presets and YAML files, a,b. Default: birads,nodule,spurious.")
        ] = None,
        units: Annotated[
            str | None, typer.Option(help="Layer of a readable classifier to name units of. Default: the agent's.")
        ] = None,
        tokens: Annotated[
            Path | None, typer.Option(help="File of those who may use it (otherwise tokens add). Needed for --host.")
        ] = None,
        log: Annotated[Literal["text", "json"], typer.Option(help="Form of the log: text or json.")] = "text",
        grace: Annotated[float, typer.Option(min=0, help="Seconds that a running job may go on after SIGTERM.")] = 30.0,
        trust_code: Annotated[bool, typer.Option("--trust-code", help="Let bundles run Python of their own.")] = False,
    ) -> None:
        """Serve explanations to 3D Slicer and other MONAI Label clients, until Ctrl-C."""
        refuse_open_door(host, tokens)
        remote = studies.startswith(("http://", "https://"))
        if not remote and not Path(studies).is_dir():
            raise ServeError(f"There is no folder {studies}.", "Give --studies the folder that holds the images.")
        conf = {
            "classifier": classifier,
            "agent": agent,
            "device": device,
            "trust_code": str(trust_code).lower(),
            "log": log,
            **({"state": str(state.resolve())} if state else {}),
            **({"database": database} if database else {}),
            **({"vocabulary": vocabulary} if vocabulary else {}),
            **({"units": units} if units else {}),
            **({"tokens": str(tokens.resolve())} if tokens else {}),
        }
        with listen(host, port) as door:
            run(door, studies if remote else str(Path(studies).resolve()), conf, grace)


def refuse_open_door(host: str, tokens: Path | None) -> None:
    """Refuse to be reachable from other machines while everybody would be let in.

    Raises:
        ServeError: if so.
        TokensError: if the file of tokens cannot be used.
    """
    if tokens:
        read_tokens(tokens)
        return
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    guarded = os.environ.get("MONAI_LABEL_AUTH_ENABLE", "").lower() in ("true", "1", "yes", "on")
    if not loopback and not guarded:
        raise ServeError(
            f"--host {host} would let everybody on the network in.",
            "Give --tokens FILE (otherwise tokens add), or set MONAI_LABEL_AUTH_ENABLE=true for MONAI Label's login.",
        )


def listen(host: str, port: int) -> socket.socket:
    """Take the port at once, so that a taken one is told before models are loaded.

    Raises:
        ServeError: if it cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise ServeError(
            f"Cannot listen on {host}:{port} ({os.strerror(error.errno) if error.errno else error}).",
            "Choose another --port; 0 takes any free one.",
        ) from error


def run(door: socket.socket, studies: str, conf: dict[str, str], grace: float) -> None:
    """Serve on a listening socket until interrupted by Ctrl-C, or by SIGTERM, which lets the running job end.

    MONAI Label's own ``start_server`` writes into the app's folder, which an installed package must not, hence its
    settings are given here and its server is run as it is.

    Raises:
        OtherwiseError: if a model cannot be loaded.
    """
    host, port = door.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    # Settings are read when MONAI Label is first imported; its own subprocesses inherit them.
    os.environ["MONAI_LABEL_APP_DIR"] = str(app_folder())
    os.environ["MONAI_LABEL_STUDIES"] = studies
    os.environ["MONAI_LABEL_APP_CONF"] = json.dumps(conf)
    os.environ["MONAI_LABEL_SERVER_PORT"] = str(port)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(app_folder())]))
    # Left open, any web page could read this server through the browser of whoever runs it.
    os.environ.setdefault("MONAI_LABEL_CORS_ORIGINS", json.dumps([address]))

    from monailabel.interfaces.utils.app import app_instance

    app = app_instance()
    sys.path.append(str(app_folder()))
    from lib.operations.serving import serve  # not earlier: MONAI Label loads everything of that name anew

    # It is read by now, and MONAI Label's trainings, which inherit the rest, fail on printing it.
    os.environ.pop("MONAI_LABEL_CORS_ORIGINS", None)
    typer.echo(f"Serving {studies} at {address} (this is the address for Slicer). Ctrl-C stops.")
    serve(door, app.close, grace)
    typer.echo("Stopped.")
