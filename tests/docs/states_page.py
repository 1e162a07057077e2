"""``python -m tests.docs.states_page``: write docs/states.md from the state table, so that the page can't disagree with it."""

from pathlib import Path

from vault_plugin.core import sign_in, states

PAGE = Path(__file__).resolve().parents[2] / "docs/states.md"


def render() -> str:
    """Return the page."""
    lines = [
        "# States",
        "",
        "Made from the tables in `vault_plugin/core/` by `python -m tests.docs.states_page`; a test compares it with them.",
        "",
        "## A credential",
        "",
        *_meanings(states.State),
        "",
        "An event that isn't in the table raises, and changes nothing. Freshness is computed from the time and never stored.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> needs_sign_in",
        *(
            f"    {state} --> {after or 'state_before'}: {event}"
            for state, row in states.TABLE.items()
            for event, after in row.items()
        ),
        "```",
        "",
        "`state_before` is the state in which the attempt began, which the journal holds.",
        "",
        *_meanings(states.Event),
        "",
        "## A sign-in",
        "",
        *_meanings(sign_in.SignInState),
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> pending",
        *(f"    {state} --> {after}" for state, row in sign_in.TABLE.items() for after in sorted(row)),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _meanings(members: type[states.State] | type[states.Event] | type[sign_in.SignInState]) -> list[str]:
    """Return a table of an enumeration: each member, and what the code says of it."""
    rows = [f"| `{name}` | {text} |" for name, text in _documented(members).items()]
    return ["| name | means |", "| --- | --- |", *rows]


def _documented(members: type[states.State] | type[states.Event] | type[sign_in.SignInState]) -> dict[str, str]:
    """Return the text that follows each member in the source."""
    source = Path(str(__import__(members.__module__, fromlist=["x"]).__file__)).read_text()
    body = source.split(f"class {members.__name__}(", 1)[1].split("\n\n\n", 1)[0]
    return {member.value: body.split(f'"{member.value}"\n    """', 1)[1].split('"""', 1)[0] for member in members}


if __name__ == "__main__":
    PAGE.write_text(render())
