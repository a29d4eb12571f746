"""The Portal that runs on this state directory, asked as its owner: is it well, does it answer?"""

import httpx
import msgspec

from portal.runtime.ops.findings import Finding, fault, ok, warn
from portal.runtime.ops.instance import RunInfo
from portal.shared.models import Health

HEALTH_SECONDS = 10.0
RESTART = "`portal down`, then `portal up`; its log tells why"


def check_portal(run: RunInfo) -> list[Finding]:
    """Ask the running Portal for its health."""
    who = f"pid {run.pid} at {run.url}"
    try:
        with httpx.Client(trust_env=False, timeout=HEALTH_SECONDS) as client:
            reply = client.get(f"{run.url}/health", headers=_key(run))
        health = msgspec.json.decode(reply.raise_for_status().content, type=Health)
    except (httpx.HTTPError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = str(error) or type(error).__name__
        return [fault("portal", f"{who} does not answer as it should: {reason}", RESTART)]
    found = f"{health.version}, {who}, {health.status}"
    if not health.ready:
        return [fault("portal", f"{found}, not taking requests", RESTART)]
    if health.problems:
        fix = "the checks of the backends below tell what to do"
        return [warn("portal", f"{found}: {' '.join(health.problems)}", fix)]
    return [ok("portal", found)]


async def ask_one_token(run: RunInfo, model: str, seconds: float) -> None:
    """Let the running Portal answer with one token of a model. Raises httpx.HTTPError."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Say yes."}],
        "max_tokens": 1,
    }
    async with httpx.AsyncClient(trust_env=False, timeout=seconds) as client:
        reply = await client.post(
            f"{run.url}/v1/chat/completions", content=msgspec.json.encode(body), headers=_key(run)
        )
        reply.raise_for_status()


def _key(run: RunInfo) -> dict[str, str]:
    return {"authorization": f"Bearer {run.token}"}
