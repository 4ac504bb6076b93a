"""Begins a rollout by the fleet's API, or the way back, and waits until it has ended.

Everything comes by the environment (action.yml). Ends with 0 only when the deployment is
`succeeded`: each host has proven the version. Whoever ends this program does not end the rollout.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PATH = "/api/v1/admin/deployments"
# An answer that is longer is none of the API's.
MOST_BYTES = 1 << 20


class RefusedError(Exception):
    """The API said no, and would say so again: the text is for people."""


class Redirected(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the token is for the named address only."""

    def redirect_request(self, *_):
        return None


class Fleet:
    """The API at `url`. `pause` is the shortest time in seconds between two requests."""

    def __init__(self, url: str, token: str, deadline: float, pause: float):
        parts = urllib.parse.urlsplit(url)
        local = parts.hostname in ("127.0.0.1", "localhost")
        if parts.scheme != "https" and not (local and parts.scheme == "http"):
            raise RefusedError(f"api-url is {url!r}: give an address with https://")
        self.base = f"{parts.scheme}://{parts.netloc}"
        self.token, self.deadline, self.pause = token, deadline, pause
        self.opener = urllib.request.build_opener(Redirected)

    def once(self, method: str, path: str, body: dict | None, key: str) -> tuple[int, dict]:
        """The status and the body of one answer; 0 where there was none, with the reason."""
        request = urllib.request.Request(self.base + path, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
            request.add_header("Idempotency-Key", key)
        try:
            with self.opener.open(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read(MOST_BYTES))
        except urllib.error.HTTPError as error:
            try:
                found = json.loads(error.read(MOST_BYTES))
            except ValueError:
                found = {}
            return error.code, found if isinstance(found, dict) else {}
        except (OSError, ValueError) as error:
            return 0, {"detail": str(error)}

    def ask(
        self, method: str, path: str, body: dict | None = None, key: str = ""
    ) -> tuple[int, dict]:
        """Repeats what may pass: no answer, too many requests, a failure of the server."""
        while True:
            status, answer = self.once(method, path, body, key)
            later = status in (0, 429) or status >= 500 or "retry_after_seconds" in answer
            if not later:
                return status, answer
            wait = max(self.pause, min(float(answer.get("retry_after_seconds", 0)), 60.0))
            why = answer.get("detail") or answer.get("message") or f"status {status}"
            if time.monotonic() + wait > self.deadline:
                raise RefusedError(f"{method} {path}: {why}; the time to wait is over")
            say(f"{method} {path}: {why}; again in {wait:g} s")
            time.sleep(wait)

    def deployment(self, id: str) -> dict:
        status, answer = self.ask("GET", f"{PATH}/{id}")
        return wanted(status, answer, 200)


def say(text: str) -> None:
    # What a host printed must not be read as a command of the runner's.
    print(text.replace("::", ": :").replace("\n", " "), flush=True)


def wanted(status: int, answer: dict, good: int) -> dict:
    if status == good:
        return answer
    detail = answer.get("detail") or answer.get("message") or "no reason was given"
    hint = {
        401: "; the token is none of the fleet's: see docs/SECURITY.md",
        403: "; the token needs the scope operate",
    }.get(status, "")
    raise RefusedError(f"the API answered {status}: {detail}{hint}")


def begin(fleet: Fleet, settings: dict[str, str], key: str) -> str:
    """The id of the deployment that this asks for. One of the same version that is in progress is
    joined."""
    body = {"strategy": settings["STRATEGY"] or "canary"}
    if settings["REASON"]:
        body["reason"] = settings["REASON"][:200]
    tag = settings["IMAGE_TAG"]
    if tag:
        status, answer = fleet.ask("POST", PATH, body | {"image_tag": tag}, key)
    else:
        id = settings["ROLLBACK_ID"] or last_rollout(fleet)
        status, answer = fleet.ask("POST", f"{PATH}/{id}/rollback", body, key)
    if status == 409 and tag and "running" in answer:
        running = fleet.deployment(answer["running"])
        if running.get("image_tag") == tag and running["kind"] == "deploy":
            say(f"{tag} is being rolled out already: waiting for {running['id']}")
            return running["id"]
    return wanted(status, answer, 202)["id"]


def last_rollout(fleet: Fleet) -> str:
    status, answer = fleet.ask("GET", f"{PATH}?limit=50")
    for one in wanted(status, answer, 200)["deployments"]:
        if one["kind"] in ("deploy", "rollback") and one["state"] != "in_progress":
            return one["id"]
    raise RefusedError("no rollout has ended yet, so there is none to undo")


def wait(fleet: Fleet, id: str) -> dict:
    shown = None
    while True:
        found = fleet.deployment(id)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(found["counts"].items()))
        if counts != shown:
            say(f"{found['state']}: {counts or 'no host was asked yet'}")
            shown = counts
        if found["state"] != "in_progress":
            return found
        if time.monotonic() + fleet.pause > fleet.deadline:
            raise RefusedError(f"{id} is still in progress and goes on; the time to wait is over")
        time.sleep(fleet.pause)


def hosts(found: dict) -> list[str]:
    """A line for each host that did not prove the version."""
    good = ("succeeded", "already_current")
    return [
        " ".join(
            str(part)
            for part in (host["instance_id"], host["state"], host.get("step"), host.get("message"))
            if part
        )
        for host in found["hosts"]
        if host["state"] not in good
    ]


def hand_over(found: dict) -> None:
    """The step's outputs and the run's summary."""
    if "GITHUB_OUTPUT" in os.environ:
        with Path(os.environ["GITHUB_OUTPUT"]).open("a") as file:
            file.write(f"id={found['id']}\nstate={found['state']}\n")
    if "GITHUB_STEP_SUMMARY" in os.environ:
        with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a") as file:
            tag = found.get("image_tag", "the version before")
            file.write(f"`{tag}`: **{found['state']}** (`{found['id']}`)\n\n")
            file.writelines(f"    {line}\n" for line in hosts(found))


def main() -> int:
    names = ("FLEET_URL", "FLEET_TOKEN", "IMAGE_TAG", "ROLLBACK_ID", "STRATEGY", "REASON")
    settings = {name: os.environ.get(name, "").strip() for name in names}
    for name in ("FLEET_URL", "FLEET_TOKEN"):
        if not settings[name]:
            print(f"::error::{name} is empty: set the variable or secret of the environment")
            return 64
    run = [
        os.environ.get(f"GITHUB_{name}", "0") for name in ("REPOSITORY", "RUN_ID", "RUN_ATTEMPT")
    ]
    # Twice in one run is twice the same request; a run that is started again asks again.
    key = "-".join([*run, settings["IMAGE_TAG"] or "rollback"])[:255]
    try:
        minutes = float(os.environ.get("WAIT_MINUTES", "300"))
        pause = float(os.environ.get("POLL_SECONDS", "10"))
        deadline = time.monotonic() + minutes * 60
        fleet = Fleet(settings["FLEET_URL"], settings["FLEET_TOKEN"], deadline, pause)
        id = begin(fleet, settings, key)
        say(f"deployment {id}")
        found = wait(fleet, id)
    except RefusedError as error:
        print("::error::" + str(error).replace("\n", " "))
        return 1
    hand_over(found)
    for line in hosts(found):
        say(line)
    if found["state"] != "succeeded":
        print(f"::error::the deployment {found['id']} ended as {found['state']}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
