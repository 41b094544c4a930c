"""The page at `/` in headless Chromium, on a real server: what a visitor does, and what a visitor sees."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from localprobe.engine import Engine
from localprobe.fake import FakeEngine
from localprobe.serve.hosted import Slot
from localprobe.serve.page import headers, html
from localprobe.vectors.vector import Vector
from tests.serve.process import started
from tests.serve.scripted import chunk, scripted
from tests.serve.server import LAYER, Server, serving

CHROMIUM = Path("/usr/bin/chromium")
slow = pytest.mark.slow


@dataclass
class Visit:
    """A page in a browser, and what went wrong in it."""

    page: Any
    faults: list[str] = field(default_factory=list)
    """Errors of scripts and of the console, and requests to other hosts."""

    def ask(self, text: str = "Hello") -> None:
        """Send a message, and wait for its answers."""
        self.page.fill("#message", text)
        self.page.press("#message", "Enter")  # hides the button at once
        self.page.wait_for_selector("#send:visible")
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def steer(self, expression: str) -> None:
        self.page.fill("#steering", expression)

    def text(self, side: str) -> str:
        """What an answer says, without marks."""
        tokens = self.page.locator(f".answer[data-side={side}] .token")
        return "".join(tokens.evaluate_all("all => all.map((one) => one.textContent)"))

    def note_of(self, token: int, side: str) -> dict[str, str]:
        """The rows of the note beside the span that holds a token."""
        spans = f"[...document.querySelectorAll('.answer[data-side={side}] .token')]"
        self.page.evaluate(f"{spans}.find((one) => one.numbers.includes({token})).focus()")
        rows = self.page.locator("#tip tr").all()
        return {row.locator("td").first.inner_text(): row.locator("td").last.inner_text() for row in rows}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


Visiting = Callable[..., Visit]


@pytest.fixture
def visiting(browser: Any) -> Iterator[Visiting]:
    """Opens the page of a URL; options of the browser's context besides. Nothing may have gone wrong at the end."""
    contexts: list[Any] = []
    visits: list[Visit] = []

    def visit(url: str, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(120_000)  # the first dose measures the fake model, and others may be busy
        visit = Visit(context.new_page())
        contexts.append(context)
        visits.append(visit)

        def called(request: Any) -> None:
            if not request.url.startswith((url, "data:", "blob:")):
                visit.faults.append(f"a request to {request.url}")

        visit.page.on("request", called)
        visit.page.on("pageerror", lambda error: visit.faults.append(str(error)))
        visit.page.on("console", lambda said: visit.faults.append(said.text) if said.type == "error" else None)
        visit.page.goto(url)
        visit.page.wait_for_selector("#model[data-state=ok], #model[data-state=failed]")
        return visit

    yield visit
    for context in contexts:
        context.close()
    assert [fault for visit in visits for fault in visit.faults] == []


@pytest.fixture
def visit(visiting: Visiting, server: Server) -> Visit:
    """The page of the shared server, with its sliders."""
    visit = visiting(server.url)
    visit.page.wait_for_selector(".knob")
    visit.page.select_option("#probe", "warm")
    visit.page.fill("#tokens", "24")
    return visit


def test_the_policy_allows_the_page_only_itself(server: Server) -> None:
    answer = server.http.get("/")
    assert answer.text == html()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy == headers()["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert re.findall(r"connect-src (\S+);", policy) == ["'self'"]
    assert not re.findall(r"<[^>]*\son\w+\s*=|\sstyle=|innerHTML\s*=|<(?:link|script)[^>]+src=", html())
    assert set(re.findall(r"https?://[\w.]+", html())) == {"http://www.w3.org"}  # the name of SVG


@slow
def test_sliders_write_the_expression_and_read_it(visit: Visit) -> None:
    page = visit.page
    slider = page.get_by_role("slider", name="Dose of warm")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Shift+ArrowLeft"):
        slider.press(key)
    assert page.input_value("#steering") == "0.14 warm"
    assert slider.get_attribute("aria-valuetext") == f"dose 0.14, layer {LAYER}"

    visit.steer('0.3 warm when brief > 1 until 0.5 + -0.1 brief @2 on "a + b; c"')
    assert (slider.input_value(), page.get_by_label("Layer of brief").input_value()) == ("0.3", "2")
    slider.press("PageUp")
    page.get_by_label("Strength of brief").fill("0.75")  # beyond the slider's end
    page.get_by_label("Layer of brief").fill("1,3")
    page.get_by_label("Layer of brief").blur()
    assert page.input_value("#steering") == '0.5 warm when brief > 1 until 0.5 + 0.75 brief @1,3 on "a + b; c"'

    visit.steer("0.3 warm + cap brief < 2")
    page.get_by_label("What is done with warm").select_option("ablate")
    assert page.input_value("#steering") == "ablate 0.3 warm + cap brief < 2"
    page.get_by_role("slider", name="Ablated share of warm").press("Delete")
    assert page.input_value("#steering") == "cap brief < 2"


@slow
def test_both_answers_come_from_one_seed_and_the_steering_is_echoed(visit: Visit, server: Server) -> None:
    visit.page.fill("#seed", "5")
    visit.steer("+.2 warm")
    visit.ask()
    asked: dict[str, Any] = {"seed": 5, "max_tokens": 24, "temperature": 0.7}
    for side, steering in (("plain", ""), ("steered", "0.2 warm")):
        expected = server.chat(steering=steering, **asked)["choices"][0]["message"]["content"]
        assert visit.text(side) == expected
    assert visit.page.inner_text(".answer[data-side=steered] h3 .mono") == "0.2 warm"  # as the server writes it


@slow
def test_tokens_are_tinted_by_their_own_score(visit: Visit, server: Server) -> None:
    visit.page.fill("#seed", "5")
    visit.page.select_option("#middle", "zero")
    visit.steer("0.2 warm")
    visit.ask()
    asked: dict[str, Any] = {"seed": 5, "max_tokens": 24, "steering": "0.2 warm", "probes": ["warm"], "logprobs": True}
    choice = server.chat(**asked)["choices"][0]
    logprobs = [token["logprob"] for token in choice["logprobs"]["content"]]
    scores = [score["warm"] for score in choice["localprobe"]["scores"]]
    assert len(scores) == len(logprobs) > 3
    for token in (0, len(scores) // 2, len(scores) - 1):
        note = {name: text.replace("\u2212", "-") for name, text in visit.note_of(token, "steered").items()}
        last = int(note["token"].split(", ")[-1])  # of the tokens that make one character, the last one is shown
        assert float(note["warm"]) == pytest.approx(scores[last], abs=1e-3)
        assert float(note["log-probability"].split()[0]) == pytest.approx(logprobs[last], abs=0.01)
    spread = float(visit.page.inner_text("#high"))
    seen = (
        "all => all.map((one) => [one.numbers.at(-1), one.dataset.sign, parseFloat(one.style.getPropertyValue('--t'))])"
    )
    for token, sign, share in visit.page.locator(".answer[data-side=steered] .token").evaluate_all(seen):
        assert sign == ("-" if scores[token] < 0 else "+")
        assert share == pytest.approx(100 * min(1, abs(scores[token]) / spread), abs=1)


@slow
def test_gates_and_alerts_are_shown_where_they_happen(visit: Visit, server: Server) -> None:
    visit.page.fill("#seed", "5")
    visit.page.fill("#watch", "warm > 0.5")
    visit.steer("0.2 warm when brief > 0")
    visit.ask()
    asked: dict[str, Any] = {
        "seed": 5,
        "max_tokens": 24,
        "steering": "0.2 warm when brief > 0",
        "watch": ["warm > 0.5"],
    }
    extra = server.chat(**asked)["choices"][0]["localprobe"]
    assert extra["gates"]
    assert extra["alerts"]
    answer = visit.page.locator(".answer[data-side=steered]")
    assert answer.locator(".mark[data-kind=gate]").count() == len(extra["gates"])
    assert answer.locator(".mark[data-kind=alert]").count() == len(extra["alerts"])
    before = (
        "all => all.map((one) => { let p = one; while (!p.answer) p = p.previousSibling; return p.numbers.at(-1); })"
    )
    places = answer.locator(".mark[data-kind=alert]").evaluate_all(before)
    assert sorted(places) == sorted(alert["token"] for alert in extra["alerts"])
    listed = answer.locator(".marks").evaluate("one => one.textContent")
    assert f"when brief > 0 opens at +{extra['gates'][0]['score']:.2f}" in listed
    assert f"warm > 0.5: +{extra['alerts'][0]['score']:.2f}" in listed


@slow
def test_an_error_is_told_where_it_was_made(visit: Visit) -> None:
    visit.steer("0.2 warn")
    visit.ask()
    assert "did you mean 'warm'?" in visit.page.inner_text("#steering-error")
    assert "did you mean 'warm'?" in visit.page.inner_text(".answer[data-side=steered] .note")
    assert visit.text("plain")  # the other answer is not lost
    visit.steer("0.2 warm")
    assert visit.page.is_hidden("#steering-error")
    assert [fault for fault in visit.faults if "400" not in fault] == []
    visit.faults.clear()


@slow
def test_the_second_turn_goes_on_with_each_side_and_the_last_can_be_changed(visit: Visit) -> None:
    page = visit.page
    bodies: list[Any] = []
    page.on("request", lambda request: bodies.append(request.post_data_json) if request.method == "POST" else None)
    page.fill("#system", "Be kind.")
    visit.steer("0.2 warm")
    visit.ask("One")
    said = {side: visit.text(side) for side in ("plain", "steered")}
    visit.ask("Two")
    for body, side in zip(bodies[2:], ("plain", "steered"), strict=True):
        assert [m["content"] for m in body["messages"]] == ["Be kind.", "One", said[side], "Two"]
    seed = page.input_value("#seed")
    page.get_by_role("button", name="Regenerate").click()
    page.wait_for_selector("#send:visible")
    assert bodies[-1]["seed"] == bodies[-2]["seed"] != int(seed)
    page.get_by_role("button", name="Edit").click()
    assert page.input_value("#message") == "Two"
    visit.ask("Three")
    assert page.locator(".asked p").all_inner_texts() == ["One", "Three"]
    assert bodies[-1]["messages"][-2:][1]["content"] == "Three"


@slow
def test_a_chat_is_exported_and_knobs_are_kept_but_no_key(visit: Visit) -> None:
    page = visit.page
    page.fill("#key", "secret-key")
    visit.steer("0.2 warm")
    visit.ask("One")
    with page.expect_download() as download:
        page.click("#export")
    chat = json.loads(Path(download.value.path()).read_text())
    assert chat["turns"][0]["asked"] == "One"
    plain, steered = chat["turns"][0]["answers"]
    assert (plain["text"], steered["text"]) == (visit.text("plain"), visit.text("steered"))
    assert steered["applied"]["steering"] == "0.2 warm"
    assert isinstance(steered["tokens"][0]["scores"]["warm"], float)
    page.reload()
    page.wait_for_selector(".knob")
    assert (page.input_value("#steering"), page.input_value("#tokens")) == ("0.2 warm", "24")
    assert page.input_value("#key") == ""
    assert "secret" not in page.evaluate("JSON.stringify(localStorage)")


@slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_small_screen_and_all_can_be_read(
    visiting: Visiting, server: Server, scheme: str
) -> None:
    visit = visiting(server.url, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    visit.page.click("#open-panel")
    visit.page.fill("#tokens", "24")
    visit.steer("0.2 warm when brief > 0")
    visit.ask("x" * 200)
    wide = "one => !one.closest('.unseen') && one.getBoundingClientRect().right > 360"
    parts = f"[...document.querySelectorAll('body *')].filter({wide}).map((one) => one.outerHTML.slice(0, 80))"
    assert visit.page.evaluate(parts) == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
    ratios = visit.page.evaluate(CONTRASTS, PAIRS)
    assert len(ratios) == len(PAIRS.split())
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


PAIRS = "text/page text/card text/sunk soft/page soft/card soft/sunk more/card bad/card text/more-tint text/less-tint"
CONTRASTS = """(pairs) => {
  const brush = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const sample = document.body.appendChild(document.createElement("i"));
  const linear = (c) => (c <= 10 ? c / 3294 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  const light = (name) => {
    sample.style.color = `var(--${name})`;
    brush.fillStyle = getComputedStyle(sample).color;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...brush.getImageData(0, 0, 1, 1).data].map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const ratio = ([a, b]) => Math.max(a, b) / Math.min(a, b);
  const ratios = pairs.split(" ").map((pair) => [pair, ratio(pair.split("/").map(light))]);
  sample.remove();
  return Object.fromEntries(ratios);
}"""
"""Contrast ratios of pairs of the page's colours, as WCAG computes them."""


@slow
def test_the_theme_can_be_switched(visit: Visit) -> None:
    page = visit.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: dark"
    assert page.evaluate(ground) != light


@slow
def test_the_keyboard_reaches_everything(visit: Visit) -> None:
    visit.ask()
    page = visit.page
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.textContent"
            )
        )
        shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert shown != "none" or page.evaluate("document.activeElement.closest('.box, .modes, body')") is not None
    assert {
        "message",
        "send",
        "steering",
        "probe",
        "watch",
        "seed",
        "system",
        "key",
        "theme",
        "export",
        "token",
    } <= reached
    page.locator(".token").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("[...document.querySelectorAll('.token')].indexOf(document.activeElement)") == 1
    assert page.is_visible("#tip")


@slow
def test_a_key_is_asked_for_where_the_server_wants_one(visiting: Visiting, warm: Vector) -> None:
    with started(keys=["secret-key"]) as server:
        visit = visiting(server.url)
        page = visit.page
        page.wait_for_selector("#model:text('a key is needed')")
        assert "this server asks for an api key" in page.inner_text("#banner").lower()
        for key, told in (("wrong", "is wrong"), ("\u00e9", "printable ASCII")):
            page.fill("#key", key)
            page.press("#key", "Tab")
            page.wait_for_selector(f"#banner-text:text('{told}')")
        page.fill("#key", "secret-key")
        page.press("#key", "Tab")
        page.wait_for_selector(".knob")
        assert page.is_hidden("#banner")
        page.fill("#tokens", "8")
        visit.ask()
        assert visit.text("plain")
        assert [fault for fault in visit.faults if "401" not in fault] == []
        visit.faults.clear()


@slow
def test_loading_is_shown_and_a_message_waits_for_its_end(browser: Any) -> None:
    go = threading.Event()

    def load(slot: Slot) -> Engine:
        slot.doing = "reading weights (40%)"
        assert go.wait(60)
        return FakeEngine(slot.spec.name)

    with serving(load=load, ready=False) as server:
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_selector("#banner-text:text('reading weights')")
        assert page.evaluate("document.getElementById('progress').value") == 0.4
        page.fill("#tokens", "8")
        page.fill("#message", "Hello")
        page.press("#message", "Enter")
        page.wait_for_selector(".facts:has-text('waiting for the model')")
        go.set()
        page.wait_for_selector("#send:visible")
        assert page.locator(".answer .token").count()
        assert not page.locator(".note:visible").count()
        page.close()


@slow
def test_events_are_read_in_any_split_of_their_bytes(visiting: Visiting) -> None:
    first = json.dumps(chunk("Zo\u00eb \U0001f642"), ensure_ascii=False).encode()
    second = json.dumps(chunk(" <b>bold</b>", finish_reason="stop")).encode().split(b", ", 1)
    stream = (
        b": a comment\r\n\r\nevent: message\r\ndata: " + first + b"\r\n\r\n"
    )  # lines may end in CR LF, in CR, in LF
    stream += b"data:" + second[0] + b",\rdata: " + second[1] + b"\r\r" + b"data: [DONE]\n\n"
    with scripted(stream) as url:
        visit = visiting(url)
        visit.ask()
        assert visit.text("plain") == "Zo\u00eb \U0001f642 <b>bold</b>"
        assert visit.page.locator(".answer b b, .token b").count() == 0
        assert not visit.page.locator(".note:visible").count()


@slow
@pytest.mark.parametrize("end", ["close", "hang"])
def test_a_connection_that_ends_early_keeps_the_text(visiting: Visiting, end: Any) -> None:
    with scripted(b"data: " + json.dumps(chunk("So far")).encode() + b"\n\n", end) as url:
        visit = visiting(url)
        visit.page.fill("#message", "Hello")
        visit.page.press("#message", "Enter")
        visit.page.wait_for_selector(".token")
        httpx.get(f"{url}/drop")
        visit.page.wait_for_selector("#send:visible")
        assert visit.text("plain") == "So far"
        assert "is kept" in visit.page.inner_text(".answer .note")
        visit.faults.clear()  # the browser's own report of the loss


@slow
def test_an_error_in_mid_answer_keeps_the_text(visiting: Visiting) -> None:
    error = {
        "error": {"message": "the engine's process has ended", "type": "server_error", "param": None, "code": None}
    }
    stream = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in (chunk("So far"), error))
    with scripted(stream) as url:
        visit = visiting(url)
        visit.ask()
        assert visit.text("plain") == "So far"
        assert visit.page.inner_text(".answer .note") == "The engine's process has ended"


@slow
def test_escape_stops_and_keeps_the_text(visiting: Visiting) -> None:
    with scripted(b"data: " + json.dumps(chunk("So far")).encode() + b"\n\n", "hang") as url:
        visit = visiting(url)
        visit.page.fill("#message", "Hello")
        visit.page.press("#message", "Enter")
        visit.page.wait_for_selector(".token")
        visit.page.keyboard.press("Escape")
        visit.page.wait_for_selector("#send:visible")
        assert visit.text("plain") == "So far"
        assert "stopped" in visit.page.inner_text(".answer .facts")
