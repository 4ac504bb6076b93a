"""The page in a real Chromium, against the real functions."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ARTIFACTS, OPERATOR, READER, STATUS, sign_in
from playwright.sync_api import expect
from support import eventually


def action(page, name: str):
    page.locator("#actions").get_by_role("button", name=name).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    return dialog


def confirmed(page, button: str, says: str) -> None:
    """Confirms the open dialog, and waits for the word that it is done."""
    page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#toasts")).to_contain_text(says)


# --- Signing in
# ------------------------------------------------------------------------------------


def test_signing_in_takes_a_valid_token_and_keeps_it_in_this_tab_only(fleet, open_page):
    page = open_page(fleet, token=None)
    expect(page.get_by_label("Token")).to_have_attribute("type", "password")
    for wrong in ("not-one-of-the-fleets", "with a space", "ümlaut"):
        sign_in(page, wrong)
        expect(page.get_by_role("alert")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0
    sign_in(page, OPERATOR)
    expect(page.locator("#workers tr")).to_have_count(3)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert OPERATOR not in page.content() and OPERATOR not in page.url
    page.reload()
    expect(page.locator("#workers tr")).to_have_count(3)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert not [one for one in [*fleet.in_service(), fleet.group] if one in page.content()], (
        "what was shown is still there"
    )
    assert page.evaluate("sessionStorage.length") == 0
    expect(page.locator("#signed-in")).to_be_hidden()


def test_a_token_that_was_rotated_out_signs_out_with_the_reason(fleet, open_page):
    page = open_page(fleet)
    page.evaluate("sessionStorage.setItem('fleet-token', 'a-token-of-last-year')")
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "Signed out: the token is not one of the fleet"
    )
    expect(page.locator("#signed-in")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_token_that_an_action_finds_rotated_out_signs_out_with_the_reason(fleet, open_page):
    page = open_page(fleet)
    dialog = action(page, "Decide now…")
    page.evaluate("sessionStorage.setItem('fleet-token', 'a-token-of-last-year')")
    dialog.get_by_role("button", name="Decide now", exact=True).click()
    expect(page.locator("#signed-in")).to_be_hidden()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("alert")).to_contain_text(
        "Signed out: the token is not one of the fleet"
    )


def test_a_reader_sees_everything_and_is_offered_no_change(fleet, open_page):
    page = open_page(fleet, READER)
    expect(page.locator("#role")).to_contain_text("reader")
    buttons = page.locator("#actions button")
    assert buttons.count() >= 6
    for button in buttons.all():
        expect(button).to_be_disabled()
    page.locator("#workers input").first.check()
    expect(page.locator("#drain")).to_be_disabled()


# --- What is shown
# ---------------------------------------------------------------------------------


def test_the_fleet_is_shown_as_the_status_has_it(fleet, open_page):
    page = open_page(fleet)
    status = fleet.ask("GET", STATUS, READER)[1]
    summary = page.locator("#summary")
    expect(summary).to_contain_text(f"Desired capacity{status['currentCapacity']} of")
    expect(summary).to_contain_text("1 busy · 2 idle")
    expect(summary).to_contain_text(f"${status['cost']['hour_micros'] / 1e6:.2f} an hour")
    expect(page.locator("#decisions")).to_contain_text(status["decisions"][0]["because"])
    expect(page.locator("#workers")).to_contain_text("Busy")
    expect(page.locator("#workers")).to_contain_text("unproven")
    assert page.locator("#workers").get_by_text("Drift").count() == 0
    chart = page.get_by_role("img", name=re.compile("In service: "))
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#capacity-legend")).to_contain_text(
        f"In service {len(fleet.in_service())}"
    )
    page.get_by_label("Show only workers").fill("busy")
    expect(page.locator("#workers-note")).to_have_text("1 of 3 shown.")


def test_a_source_that_is_down_is_named_and_its_numbers_are_unknown(fleet, open_page):
    fleet.fault("DescribeAutoScalingGroups", 1000)
    try:
        page = open_page(fleet)
        expect(page.locator("#notices")).to_contain_text("The Auto Scaling group is down.")
        expect(page.locator("#notices")).to_contain_text("not allowed")
        expect(page.locator("#summary")).to_contain_text("Desired capacityunknown")
        expect(page.locator("#summary")).to_contain_text("1 busy · 2 idle")
        assert serious(page) == []
        shot(page, "source-down")
    finally:
        fleet.no_faults()
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("#notices")).not_to_contain_text("is down")


def test_old_data_is_marked_as_old_until_new_data_comes(fleet, open_page):
    page = open_page(fleet)
    expect(page.locator("body")).not_to_have_class(re.compile("stale"))
    page.route(f"**{STATUS}", lambda route: route.abort())
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("body")).to_have_class(re.compile("stale"))
    expect(page.locator("#notices")).to_contain_text("Old data.")
    expect(page.locator("#age")).to_contain_text("old")
    expect(page.locator("#workers tr")).to_have_count(3)
    assert serious(page) == []
    shot(page, "stale")
    page.unroute(f"**{STATUS}")
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("body")).not_to_have_class(re.compile("stale"))


def test_where_rollouts_are_not_installed_the_rest_works(fleet, open_page, rollouts):
    rollouts.answer = lambda route: route.fulfill(status=404, json={"message": "Not Found"})
    page = open_page(fleet)
    expect(page.locator("#rollouts")).to_contain_text("not installed")
    expect(page.get_by_role("button", name="Deploy…")).to_be_disabled()
    expect(page.get_by_role("button", name="Decide now…")).to_be_enabled()


# --- Changes of the capacity, by the real functions
# ------------------------------------------------


def test_deciding_now_says_what_was_decided(fleet, open_page):
    page = open_page(fleet)
    dialog = action(page, "Decide now…")
    expect(dialog).to_contain_text("No worker with a job is ended")
    confirmed(page, "Decide now", "Decided: the desired capacity stays at")


def test_a_floor_is_set_shown_and_removed(fleet, open_page):
    page = open_page(fleet)
    dialog = action(page, "Set floor…")
    expect(dialog.get_by_label("At least this many workers")).to_be_focused()
    dialog.get_by_label("At least this many workers").fill("5")
    dialog.get_by_label("For").select_option("8 hours")
    expect(dialog).to_contain_text("has at least 5 workers")
    expect(dialog).to_contain_text("2 more than now")
    confirmed(page, "Set the floor", "The floor is set.")
    workers, until = fleet.tags()["ghosthands:floor"].split("@")
    assert workers == "5"
    ends = datetime.fromisoformat(until) - datetime.now(UTC)
    assert timedelta(hours=7, minutes=50) < ends <= timedelta(hours=8)
    expect(page.locator("#notices")).to_contain_text("At least 5 workers until")
    action(page, "Remove floor…")
    confirmed(page, "Remove the floor", "The floor is removed.")
    assert "ghosthands:floor" not in fleet.tags()
    expect(page.locator("#notices")).not_to_contain_text("At least")


def test_a_floor_above_the_maximum_is_refused_in_words_and_the_dialog_stays(fleet, open_page):
    page = open_page(fleet)
    dialog = action(page, "Set floor…")
    # A page that is older than a change of the settings lets it through.
    dialog.get_by_label("At least this many workers").evaluate("input => input.max = 9999")
    dialog.get_by_label("At least this many workers").fill("251")
    dialog.get_by_role("button", name="Set the floor").click()
    expect(dialog.get_by_role("alert")).to_contain_text("above the maximum of 250")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert "ghosthands:floor" not in fleet.tags()


def test_scaling_is_paused_and_resumed_by_the_keyboard_alone(fleet, open_page):
    page = open_page(fleet)
    page.get_by_role("button", name="Pause scaling…").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("No worker is added, however many jobs wait")
    page.keyboard.press("Enter") if page.evaluate(
        "document.activeElement.tagName"
    ) == "BUTTON" else page.keyboard.press("Tab")
    for _ in range(3):
        if page.evaluate("document.activeElement.id") == "dialog-confirm":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("Somebody paused scaling until")
    assert fleet.tags()["ghosthands:paused"].startswith("true@")
    action(page, "Resume scaling…")
    confirmed(page, "Resume scaling", "Scaling goes on.")
    assert "ghosthands:paused" not in fleet.tags()


def test_nothing_happens_without_the_confirmation(fleet, open_page, rollouts):
    page = open_page(fleet)
    before = fleet.tags()
    page.locator("#workers input").first.check()
    names = [button.text_content() for button in page.locator("#actions button").all()] + [
        "Drain 1 selected…"
    ]
    for name in names:
        page.get_by_role("button", name=name, exact=True).click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        assert len(dialog.locator("#dialog-text").text_content()) > 60, name
        dialog.get_by_role("button", name="Cancel", exact=True).click()
        expect(dialog).to_be_hidden()
    assert (fleet.tags(), rollouts.asked) == (before, [])


# --- Rollouts, whose routes are a recorded stand-in
# -------------------------------------------------


def test_a_deployment_is_started_watched_and_rolled_back(fleet, open_page, rollouts):
    page = open_page(fleet)
    page.clock.install()

    def after_some_looks(text: str, place) -> None:
        """The page looks again every three seconds by itself."""
        for _ in range(12):
            page.clock.run_for(3_100)
            page.wait_for_timeout(150)
            if text in place.inner_text():
                return
        raise AssertionError(f"{text!r} is not in {place.inner_text()!r}")

    dialog = action(page, "Deploy…")
    dialog.get_by_label("Image tag").fill("v2")
    dialog.get_by_label("Strategy").select_option("one-at-a-time")
    dialog.get_by_label("Reason").fill("a <b>fix</b>")
    expect(dialog).to_contain_text("v2 goes to all 3 hosts. One host after the other")
    # The first answer is lost: pressing again must not start a second rollout.
    rollouts.refusal = (503, {"detail": "try again"})
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("It may or may not have been done")
    rollouts.refusal = None
    confirmed(page, "Deploy", "The rollout of v2 has begun.")
    (_, path, body, first), (*_, second) = rollouts.asked
    assert path == "deployments"
    assert body == {
        "image_tag": "v2",
        "strategy": "one-at-a-time",
        "force": False,
        "reason": "a <b>fix</b>",
    }
    assert (
        first["idempotency-key"] == second["idempotency-key"]
        and len(first["idempotency-key"]) == 36
    )
    assert first["authorization"] == f"Bearer {OPERATOR}"
    hosts = page.locator("#rollout-hosts")
    expect(page.locator("#rollout-title")).to_have_text("Deploy v2")
    expect(hosts.get_by_text("In progress")).to_have_count(1)
    after_some_looks("v1 → v2", hosts)
    expect(page.get_by_role("button", name="Deploy…")).to_be_disabled()
    after_some_looks("Rolled back", hosts)
    hosts.get_by_text("Log").click()
    expect(hosts.locator("pre")).to_have_text("<b>boom</b>")
    shot(page, "rollout")
    after_some_looks("Partial", page.locator("#rollout-summary"))
    page.locator("#rollout-buttons").get_by_role("button", name="Roll back…").click()
    confirmed(page, "Roll back", "The roll-back has begun.")
    assert rollouts.asked[-1][:3] == ("POST", "deployments/c-0/rollback", None)
    assert len(rollouts.asked[-1][3]["idempotency-key"]) == 36
    expect(page.locator("#rollout-title")).to_have_text("Roll back v1")


def test_a_rollout_says_what_it_waits_for_and_can_be_paused(fleet, open_page, rollouts):
    rollouts.begin("deploy", image_tag="v2", strategy="canary")
    rollouts.waits = True
    page = open_page(fleet)
    summary, hosts = page.locator("#rollout-summary"), page.locator("#rollout-hosts li")
    expect(hosts.nth(0)).to_contain_text("Waiting for its job")
    expect(hosts.nth(0)).to_contain_text(re.compile(r"since .+, until .+ at most"))
    expect(hosts.nth(1)).to_contain_text("At the job limit")
    expect(hosts.nth(2)).to_contain_text("Not yet")
    expect(summary).to_contain_text("1 waiting for its job")
    expect(summary).to_contain_text(re.compile(r"5 hosts left, and the last job's limit ends .+\."))
    buttons = page.locator("#rollout-buttons")
    buttons.get_by_role("button", name="Pause…").click()
    confirmed(page, "Pause", "The rollout is paused.")
    assert rollouts.asked[-1][:2] == ("POST", "deployments/c-0/pause")
    expect(summary).to_contain_text("Paused")
    shot(page, "rollout-waiting")
    buttons.get_by_role("button", name="Continue…").click()
    confirmed(page, "Continue", "The rollout goes on.")
    assert rollouts.asked[-1][:2] == ("POST", "deployments/c-0/continue")
    expect(summary).not_to_contain_text("Paused")
    buttons.get_by_role("button", name="Cancel…").click()
    confirmed(page, "Cancel the rollout", "is being cancelled")


def test_only_the_newest_success_is_offered_a_way_back(fleet, open_page, rollouts):
    page = open_page(fleet)
    status = fleet.ask("GET", STATUS)[1]
    status["versions"]["stable"] = {"image_tag": "v2", "deployment_id": "c-1", "at": None}
    page.route(f"**{STATUS}", lambda route: route.fulfill(json=status))
    for tag, state in (("v1", "succeeded"), ("v2", "succeeded"), ("v3", "failed")):
        rollouts.begin("deploy", image_tag=tag).update(state=state)
    page.get_by_role("button", name="Reload").click()
    back = page.locator("#rollout-buttons").get_by_role("button", name="Roll back…")
    for tag, says in (
        ("v1", None),
        ("v2", "was stable before this one"),
        ("v3", "v2, which is stable,"),
    ):
        page.locator("#rollouts").get_by_role("button", name=f"Deploy {tag}").click()
        expect(page.locator("#rollout-title")).to_have_text(f"Deploy {tag}")
        expect(back).to_have_count(1 if says else 0)
        if says:
            back.click()
            expect(page.get_by_role("dialog")).to_contain_text(says)
            page.keyboard.press("Escape")


def test_an_order_that_ssm_does_not_list_yet_is_waited_for(fleet, open_page, rollouts):
    page = open_page(fleet)
    rollouts.unlisted = 2
    action(page, "Clean up disks…")
    confirmed(page, "Clean up", "The clean-up has begun.")
    expect(page.locator("#rollouts li")).to_have_count(1)
    expect(page.locator("#rollouts .notice")).to_have_count(0)
    while rollouts.unlisted:
        page.get_by_role("button", name="Reload").click()
        page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="Reload").click()
    expect(page.locator("#rollout-summary")).to_contain_text("In progress")


def test_a_second_rollout_is_refused_with_the_running_one_and_the_first_can_be_cancelled(
    fleet, open_page, rollouts
):
    page = open_page(fleet)
    dialog = action(page, "Deploy…")
    dialog.get_by_label("Image tag").fill("v2")
    rollouts.refusal = (
        409,
        {
            "title": "Conflict",
            "status": 409,
            "detail": "the deployment c-9 is in progress",
            "running": "c-9",
        },
    )
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("the deployment c-9 is in progress")
    page.keyboard.press("Escape")
    rollouts.refusal = None
    rollouts.begin("deploy", image_tag="v2")
    page.get_by_role("button", name="Reload").click()
    page.locator("#rollout-buttons").get_by_role("button", name="Cancel…").click()
    confirmed(page, "Cancel the rollout", "is being cancelled")
    assert rollouts.asked[-1][1] == "deployments/c-0/cancel"
    expect(page.locator("#rollout-summary")).to_contain_text("Cancelled")


@pytest.mark.parametrize(
    ("name", "button", "path"),
    [
        ("Clean up disks…", "Clean up", "cleanup"),
        ("Refresh secrets…", "Refresh", "refresh-secrets"),
    ],
)
def test_an_order_to_all_hosts_is_given_and_watched(fleet, open_page, rollouts, name, button, path):
    page = open_page(fleet)
    dialog = action(page, name)
    expect(dialog).to_contain_text(re.compile("all 3 hosts", re.I))
    confirmed(page, button, "has begun")
    assert rollouts.asked[-1][:3] == ("POST", path, {})
    expect(page.locator("#rollout-summary")).to_contain_text("In progress")


def test_the_selected_workers_are_drained_and_no_other(fleet, open_page, rollouts):
    page = open_page(fleet)
    busy = page.locator("#workers tr", has_text="Busy")
    instance = busy.locator(".mono").first.text_content()
    busy.get_by_role("checkbox").check()
    # What is selected stays so while new data comes.
    page.get_by_role("button", name="Reload").click()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Drain 1 selected…").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 of them has a job now")
    confirmed(page, "Drain", "The drain has begun.")
    assert rollouts.asked[-1][:3] == ("POST", "drain", {"instance_ids": [instance]})
    expect(page.locator("#drain")).to_be_disabled()


# --- Size and access
# -------------------------------------------------------------------------------


def shot(page, name: str) -> None:
    page.screenshot(path=ARTIFACTS / f"{name}.png")


def serious(page) -> list[str]:
    """What axe finds that keeps somebody from using the page."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:160]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


each_view = pytest.mark.parametrize(
    ("device", "width", "height", "scheme"),
    [
        (*device, scheme)
        for device in (("phone", 390, 844), ("desktop", 1280, 900))
        for scheme in ("light", "dark")
    ],
)


@each_view
def test_everybody_can_use_it(fleet, open_page, rollouts, device, width, height, scheme):
    rollouts.begin("deploy", image_tag="v2", strategy="canary")
    page = open_page(fleet, width=width, height=height, scheme=scheme)
    expect(page.locator("#rollout-hosts li")).to_have_count(6)
    assert serious(page) == []
    action(page, "Set floor…")
    assert serious(page) == []
    shot(page, f"{device}-{scheme}-dialog")


@each_view
def test_two_hundred_machines_fit(large, open_page, rollouts, device, width, height, scheme):
    rollouts.begin("deploy", image_tag="v2", strategy="canary")
    page = open_page(large, width=width, height=height, scheme=scheme)
    expect(page.locator("#workers tr")).to_have_count(203)
    expect(page.locator("#workers").get_by_text("Elsewhere")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
    page.get_by_label("Show only workers").fill("idle elsewhere")
    expect(page.locator("#workers-note")).to_have_text("2 of 203 shown.")
    page.get_by_label("Show only workers").fill("")
    shot(page, f"{device}-{scheme}")


def test_the_way_in_is_accessible_too(fleet, open_page):
    page = open_page(fleet, token=None)
    sign_in(page, "not-one-of-the-fleets")
    expect(page.get_by_role("alert")).to_be_visible()
    assert serious(page) == []
    shot(page, "sign-in")


def test_names_from_outside_are_text_and_never_markup(fleet, open_page):
    page = open_page(fleet, token=None)
    status = fleet.ask("GET", STATUS, READER)[1]
    evil = "<img src=x onerror=alert(1)>"
    status["environment"] = status["instances"][0]["version"] = evil
    status["decisions"][0]["because"] = status["workers"][0]["worker_id"] = evil
    status["unavailable"] = [{"source": evil, "cause": "failed", "reason": evil}]
    page.route(
        f"**{STATUS}",
        lambda route: route.fulfill(body=json.dumps(status), content_type="application/json"),
    )
    sign_in(page, OPERATOR)
    expect(page.locator("#notices")).to_contain_text(evil)
    assert page.locator("img:not([role])").count() == 0


def test_it_asks_by_itself_and_not_while_nobody_looks(fleet, open_page):
    page = open_page(fleet, token=None)
    page.clock.install()
    sign_in(page, OPERATOR)
    expect(page.locator("#workers tr")).to_have_count(3)
    asked = []
    page.on(
        "request",
        lambda request: asked.append(request.url) if request.url.endswith(STATUS) else None,
    )

    def look(hidden: bool) -> None:
        page.evaluate(
            "hidden => { Object.defineProperty(document, 'hidden', "
            "{ get: () => hidden, configurable: true });"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            hidden,
        )

    page.clock.run_for(11_000)
    eventually("it asks every ten seconds", 10, lambda: page.wait_for_timeout(50) or asked)
    for _ in range(5):
        page.get_by_role("button", name="Reload").click()
    page.wait_for_load_state("networkidle")
    asked.clear()
    page.clock.run_for(11_000)
    eventually("it asks again", 30, lambda: page.wait_for_timeout(50) or asked)
    page.wait_for_load_state("networkidle")
    assert len(asked) == 1, "pressing Reload often makes it ask more often"
    look(hidden=True)
    page.wait_for_load_state("networkidle")
    asked.clear()
    for _ in range(6):
        page.clock.run_for(11_000)
        page.wait_for_timeout(50)
    assert asked == []
    look(hidden=False)
    eventually("it asks at once", 10, lambda: page.wait_for_timeout(50) or asked)
