"""The page on which a person enters the code, and the simulator's own control."""

import json
from html import escape
from typing import TYPE_CHECKING

from tests.simulators.http import Request, Response, json_response

if TYPE_CHECKING:
    from tests.simulators.microsoft import MicrosoftSimulator

PAGE = """<!doctype html><meta charset="utf-8"><title>Enter code (simulator)</title>
<style>body{{font:16px sans-serif;max-width:30em;margin:4em auto}}input,button{{font:inherit;padding:.4em;margin:.2em 0}}</style>
<h1>Enter code</h1><p>This simulates Microsoft's page. {note}</p>
<form method="post" action="/device">
<p><label>Code <input name="user_code" value="{code}" autofocus></label></p>
<p><label>Account <input name="account" value="admin@contoso.onmicrosoft.com" size="34"></label></p>
<button name="do" value="approve">Sign in</button> <button name="do" value="decline">Cancel</button></form>"""

SETTINGS = {"interval", "code_life", "access_life", "slow_down", "rotation", "auto_approve", "public_client"}


def answer(simulator: "MicrosoftSimulator", request: Request) -> Response:
    """Answer a request of a person or of a test's control."""
    if request.path == "/_sim/state":
        pending = [{"tenant": c.tenant, "user_code": c.user_code} for c in simulator.pending()]
        presented = [{**vars(p), "at": p.at.isoformat()} for p in simulator.presented]
        return json_response(200, {"pending": pending, "presented": presented})
    if request.path == "/_sim/set" and request.method == "POST":
        return _set(simulator, json.loads(request.body))
    if request.method == "POST":
        return _submit(simulator, request.form())
    return _page("", request.query.get("user_code", ""))


def _set(simulator: "MicrosoftSimulator", wanted: dict[str, object]) -> Response:
    for name, value in wanted.items():
        if name in SETTINGS:
            setattr(simulator, name, value)
        elif name in {"unknown_tenants", "omit_on_refresh"} and isinstance(value, list):
            setattr(simulator, name, {str(each) for each in value})
        elif name == "approve":
            simulator.approve(str(value))
        elif name == "decline":
            simulator.decline(str(value))
        elif name == "block" and isinstance(value, dict):
            simulator.blocked = {str(tenant): int(code) for tenant, code in value.items()}
        elif name == "revoke":
            simulator.revoke(str(value))
        else:
            return json_response(400, {"error": f"unknown setting {name}"})
    return json_response(200, {})


def _submit(simulator: "MicrosoftSimulator", form: dict[str, str]) -> Response:
    try:
        if form.get("do") == "decline":
            simulator.decline(form.get("user_code", ""))
            return _page("Declined. You may close this page.", "")
        simulator.approve(form.get("user_code", ""), form.get("account") or "admin@contoso.onmicrosoft.com")
    except StopIteration:
        return _page("That code didn't work. Check it and try again.", form.get("user_code", ""))
    return _page("Signed in. You may close this page.", "")


def _page(note: str, code: str) -> Response:
    text = PAGE.format(note=escape(note), code=escape(code, quote=True))
    return Response(200, text.encode(), {"Content-Type": "text/html; charset=utf-8"})
