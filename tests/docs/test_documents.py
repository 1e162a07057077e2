"""Docs that can't drift, and the rules about files."""

import re
import subprocess
from pathlib import Path

import pytest

from scheduler.settings import Settings
from tests.docs import states_page
from vault_plugin.cli.app import app
from vault_plugin.core.states import Reason, State

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("vault_plugin", "scheduler", "tests", "demo", "bench")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
FORBIDDEN = {"utils", "helpers", "common", "base", "manager", "misc"}


def test_modules_are_short_and_have_a_name_of_their_own() -> None:
    """About 300 lines; tests 450."""
    assert len(MODULES) > 50
    for path in MODULES:
        lines = len(path.read_text().splitlines())
        limit = 450 if "tests" in path.parts else 300
        assert lines <= limit, f"{path.relative_to(ROOT)} has {lines} lines"
        assert path.stem not in FORBIDDEN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    """In README and docs."""
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_decision_has_its_four_parts_and_stands_in_the_index() -> None:
    """docs/adr/."""
    index = (ROOT / "docs/adr/README.md").read_text()
    decisions = sorted((ROOT / "docs/adr").glob("0*.md"))
    assert len(decisions) >= 7
    for path in decisions:
        text = path.read_text()
        assert path.name in index
        for part in ("Context", "Options", "Decision", "Consequences"):
            assert f"\n## {part}\n" in text, f"{path.name} lacks {part}"


def test_the_changelog_is_kept() -> None:
    """Keep a Changelog."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    assert set(re.findall(r"^### (\w+)", text, re.MULTILINE)) <= {
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    }


def test_every_setting_stands_in_the_readme() -> None:
    """And nothing that isn't one."""
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"VB365_[A-Z_]+", text))
    known = {f"VB365_{field.upper()}" for field in Settings.model_fields} | {"VB365_CONFIG"}

    assert named == known


def test_every_command_that_the_docs_name_exists() -> None:
    """`vb365 NOUN VERB` and its flags."""
    commands = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    for page in PAGES:
        for words in re.findall(r"(?:^\$|`)\s*vb365 ([a-z][a-z-]*)", page.read_text(), re.MULTILINE):
            assert words in commands, f"{page.name}: vb365 {words}"


def test_every_state_and_every_shown_reason_is_explained() -> None:
    """docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    internal = {
        "RotationStarted", "Due", "NotDue", "Requested", "Climbed", "TakenOver", "InFlight", "BackingOff", "SilentRetry",
        "KeepAlive", "Approved", "Cancelled", "Probing", "ServerRecovered",
    }  # fmt: skip
    for state in State:
        assert f"`{state.value}`" in text
    for reason in Reason:
        assert f"`{reason.value}`" in text or reason.value in internal, reason


def test_the_page_of_states_is_made_from_the_tables() -> None:
    """`python -m tests.docs.states_page` makes it anew."""
    assert states_page.PAGE.read_text() == states_page.render()


def test_nothing_of_this_machine_is_committed() -> None:
    """No paths of a machine, no registry hosts in the locks."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in listed.stdout.split() if (ROOT / name).is_file()]
    assert len(files) > 80
    machine = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")
    for path in files:
        text = path.read_text(errors="replace")
        if path != Path(__file__):
            assert not machine.search(text), path
        if "requirements" in path.parts or "lock" in path.name:
            assert not re.search(r"https?://|--index-url|--find-links", text), path
