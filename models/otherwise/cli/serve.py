"""``otherwise serve``: run MONAI Label's server with a classifier and its agent."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from otherwise.cli.options.network import (
    ServeError,
    is_loopback,
    listen,
    proxies,
    reachable_name,
    refuse_open_door,
    tls,
)
from otherwise.cli.quick_start import UNUSED_BY_SERVERS, garbage_collection_paused, import_monai_without
from otherwise.resources import app_folder


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def serve(
        studies: Annotated[str, typer.Option(help="Folder of images, or address of a DICOMweb server.")],
        classifier: Annotated[
            str,
            typer.Option(envvar="OTHERWISE_CLASSIFIER", help="Bundle of the classifier, or a shipped bundle's name."),
        ] = "mammogram_classifier",
        agent: Annotated[
            str, typer.Option(envvar="OTHERWISE_AGENT", help="Bundle of its agent, or a shipped bundle's name.")
        ] = "mammogram_agent",
        host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8000,
        device: Annotated[str, typer.Option(envvar="OTHERWISE_DEVICE", help="auto, cpu, cuda or cuda:N.")] = "auto",
        state: Annotated[
            Path | None, typer.Option(help="Folder for explanations and uploads. Default: beside the studies.")
        ] = None,
        limit: Annotated[
            list[str] | None,
            typer.Option(
                metavar="KEY=VALUE",
                help="waiting, waiting_per_user, deadline_seconds, keep_days, keep_gib or reading_mib; repeatable.",
            ),
        ] = None,
        database: Annotated[
            str | None, typer.Option(help="SQLite file or PostgreSQL URL of the annotations. Default: in the state.")
        ] = None,
        vocabulary: Annotated[
            str | None, typer.Option(help="Presets and YAML files, a,b. Default: birads,nodule,spurious.")
        ] = None,
        units: Annotated[
            str | None,
            typer.Option(
                help="Layer of the classifier to name units of, or agent. Default: the classifier's, if readable."
            ),
        ] = None,
        search: Annotated[
            str | None, typer.Option(help="Of a DICOMweb server only these series: Modality=MG,StudyDate=20260101-.")
        ] = None,
        cache_mib: Annotated[
            int | None, typer.Option(min=1, help="Of a DICOMweb server's images to keep on disk. Default: 20480.")
        ] = None,
        store: Annotated[
            str | None, typer.Option(help="Archive that explanations are sent to by C-STORE: AET@HOST:PORT.")
        ] = None,
        tokens: Annotated[
            Path | None,
            typer.Option(
                envvar="OTHERWISE_TOKENS",
                help="File of tokens (otherwise tokens add). Required with --host.",
            ),
        ] = None,
        origin: Annotated[
            list[str] | None, typer.Option(help="Web page whose scripts may use it, as https://viewer.example.")
        ] = None,
        rate: Annotated[
            float | None, typer.Option(min=0, help="Requests a second of one user; 0: any. Default: 20 with --tokens.")
        ] = None,
        certificate: Annotated[Path | None, typer.Option(help="Certificate chain (PEM), for https.")] = None,
        key: Annotated[Path | None, typer.Option(help="Private key of the certificate (PEM).")] = None,
        proxy: Annotated[
            list[str] | None, typer.Option(help="Address of a reverse proxy that is trusted to name the client.")
        ] = None,
        log: Annotated[
            Literal["text", "json"], typer.Option(envvar="OTHERWISE_LOG", help="Form of the log: text or json.")
        ] = "text",
        grace: Annotated[float, typer.Option(min=0, help="Seconds that a running job may go on after SIGTERM.")] = 30.0,
        trust_code: Annotated[
            bool,
            typer.Option("--trust-code", envvar="OTHERWISE_TRUST_CODE", help="Allow bundles to run their own code."),
        ] = False,
    ) -> None:
        """Serve explanations to 3D Slicer and other MONAI Label clients, until Ctrl-C."""
        refuse_open_door(host, tokens, proxy or [])
        settings = {**tls(certificate, key), **proxies(proxy or [])}
        remote = studies.startswith(("http://", "https://"))
        if not remote and not Path(studies).is_dir():
            raise ServeError(f"There is no folder {studies}.", "Give --studies the folder that holds the images.")
        conf = {
            **limits(limit or []),
            "classifier": classifier,
            "agent": agent,
            "device": device,
            "trust_code": str(trust_code).lower(),
            "log": log,
            **({"state": str(state.resolve())} if state else {}),
            **({"database": database} if database else {}),
            **({"vocabulary": vocabulary} if vocabulary else {}),
            **({"units": units} if units else {}),
            **({"dicomweb_search": search} if search else {}),
            **({"dicomweb_cache_mib": str(cache_mib)} if cache_mib else {}),
            **({"store_to": store} if store else {}),
            **({"tokens": str(tokens.resolve())} if tokens else {}),
            **({"origins": ",".join(origin)} if origin else {}),
            **({"rate": str(rate)} if rate is not None else {}),
        }
        with listen(host, port) as door:
            run(door, studies if remote else str(Path(studies).resolve()), conf, grace, settings)


def limits(pairs: list[str]) -> dict[str, str]:
    """Read pairs ``KEY=VALUE``; the server checks keys and values.

    Raises:
        ServeError: if a text is not a pair.
    """
    broken = [pair for pair in pairs if not all(pair.partition("="))]
    if broken:
        raise ServeError(f"--limit {broken[0]} is not KEY=VALUE.", "Give it like --limit keep_days=90.")
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def run(door: socket.socket, studies: str, conf: dict[str, str], grace: float, settings: Mapping[str, object]) -> None:
    """Serve on a listening socket until interrupted by Ctrl-C, or by SIGTERM, which lets the running job end.

    MONAI Label's ``start_server`` writes into the app's folder, which an installed package must not do. So its settings
    are set here, and its server is run directly.

    Args:
        door: The listening socket.
        studies: Folder of images, or address of a DICOMweb server.
        conf: See the app's ``lib/settings/options.py``.
        grace: Seconds for the running job to end after SIGTERM.
        settings: Further settings of uvicorn.

    Raises:
        OtherwiseError: if a model cannot be loaded.
    """
    # Uploads are patients' data, also in the temporary folder: other users cannot read them.
    os.umask(os.umask(0o007) | 0o007)
    host, port = door.getsockname()[:2]
    secure = "ssl_certfile" in settings
    shown = reachable_name(host)
    address = f"{'https' if secure else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"
    if not secure and not is_loopback(host):
        warning = "Tokens and images cross the network unencrypted. Give --certificate and --key, or use a proxy."
        typer.echo(warning, err=True)
    # MONAI Label reads its settings at its first import; its subprocesses inherit them.
    os.environ["MONAI_LABEL_APP_DIR"] = str(app_folder())
    os.environ["MONAI_LABEL_STUDIES"] = studies
    os.environ["MONAI_LABEL_APP_CONF"] = json.dumps(conf)
    os.environ["MONAI_LABEL_SERVER_PORT"] = str(port)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(app_folder())]))

    # MONAI Label prints at import, for example that every web page may use it, which is not true here.
    with garbage_collection_paused(), contextlib.redirect_stdout(io.StringIO()):
        if conf.get("trust_code") != "true":  # the code of a bundle may use all of MONAI
            import_monai_without(UNUSED_BY_SERVERS)
        from monailabel.interfaces.utils.app import app_instance

        app = app_instance()
        sys.path.append(str(app_folder()))
        from lib.runtime.shutdown import serve  # not earlier: MONAI Label imports these modules again

    # It has been read; MONAI Label's trainings inherit the environment and fail when they print it.
    os.environ.pop("MONAI_LABEL_CORS_ORIGINS", None)
    secret = app.address_path
    typer.echo(f"Serving {studies} at {address}{secret} (this is the address for Slicer). Ctrl-C stops.")
    if secret:
        typer.echo("Anybody who knows this address may do everything; it is accepted from this machine only.")
    serve(door, app.close, grace, **settings)
    typer.echo("Stopped.")
