"""`holdfast health`: whether a service lives, or is ready; for containers and scripts."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import ssl
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from holdfast.cli.command import Cli, command
from holdfast.core.errors import UnavailableError
from holdfast.core.parsing import parse_json

if TYPE_CHECKING:
    from holdfast.config import Settings

_PATIENCE: Final = 4.0  #: seconds
_SHORT: Final = 3.0  #: seconds for what is only shown; a container waits 10 in all


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "health", panel=panel)
    async def health(
        cli: Cli,
        ready: Annotated[
            bool, typer.Option("--ready", help="whether it can work, not only whether it answers")
        ] = False,
    ) -> None:
        """Ask a service whether it lives; without --server the one that is configured here. Fails when it does not.

        What is wrong with one that lives is shown, and is no failure.
        """
        own = cli.target.url is None
        url = cli.target.url or _local(cli.target.settings())
        path = "/health/ready" if ready else "/health/live"
        status, found = await asyncio.to_thread(_ask, url, path, ca_file=cli.target.ca_file, own=own)
        state = str(found.get("status", ""))
        if status != 200:
            problems = "; ".join(map(str, found.get("problems", ()))) or f"it answers {status}"
            raise UnavailableError(f"{url} is not {'ready' if ready else 'alive'}: {problems}")
        said = (
            found.get("warnings", ())
            if ready
            else await asyncio.to_thread(_problems, url, cli.target.ca_file, own)
        )
        warnings = [str(warning) for warning in said]
        facts = {"url": url, "status": state, **({"warnings": warnings} if warnings else {})}
        cli.out.record(facts, "\n".join([f"{url}: {state}", *(f"  degraded: {text}" for text in warnings)]))


def _local(settings: Settings) -> str:
    """Return where the configured service is reached from this machine."""
    host = settings.host
    try:
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
    except ValueError:
        pass
    scheme = "http" if settings.tls.certificate is None else "https"
    return f"{scheme}://[{host}]:{settings.port}" if ":" in host else f"{scheme}://{host}:{settings.port}"


def _problems(url: str, ca_file: Any, own: bool) -> list[str]:
    """Return what is wrong with a service that lives."""
    try:
        _, found = _ask(url, "/health", ca_file=ca_file, own=own, patience=_SHORT)
    except UnavailableError:
        return [f"it did not say within {_SHORT:g} seconds whether all is well"]
    problems = found.get("problems", ())
    return [str(problem) for problem in problems] if isinstance(problems, list) else []


def _ask(
    url: str, path: str, *, ca_file: Any, own: bool, patience: float = _PATIENCE
) -> tuple[int, dict[str, Any]]:
    """Return status and body of the answer. The certificate of our own machine's service is not looked at."""
    place = urlsplit(url)
    port = place.port or (443 if place.scheme == "https" else 80)
    try:
        if place.scheme == "https":
            context = ssl.create_default_context(cafile=ca_file)
            if own:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                place.hostname or "", port, timeout=patience, context=context
            )
        else:
            connection = http.client.HTTPConnection(place.hostname or "", port, timeout=patience)
        try:
            connection.request("GET", place.path.rstrip("/") + path)
            answer = connection.getresponse()
            body = answer.read(65536)
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        raise UnavailableError(
            f"the certificate of {url} is not trusted; when it is your own, name it with --ca-file:"
            f" {error.verify_message}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or error
        raise UnavailableError(f"{url} does not answer: {why}") from error
    try:
        found = parse_json(body)
    except ValueError:
        found = {}
    return answer.status, found if isinstance(found, dict) else {}
