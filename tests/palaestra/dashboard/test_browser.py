"""The page in a headless Chromium: what is seen, what hostile rollouts can do, keys, the stream, any screen."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from chromium import Page
from played import RUN, Bytes, Shown, failed, message, rollout, trace

from gym_core.contracts import Outcome, Verdict
from gym_core.serve import start
from gym_core.store import Store
from palaestra.dashboard import viewer
from palaestra.dashboard.app import build_app
from palaestra.dashboard.library import Library

pytestmark = pytest.mark.browser

HOSTILE = '<script>window.hacked=1</script><img src=x onerror="window.hacked=2">\u202eright to left\u202c\u0000 ]]>'


def at(client: Any, view: str = "", query: str = "") -> str:
    return f"{client.base_url}/dashboard/#/{view}?{query}"


def one(number: int) -> str:
    return f"store={RUN}&id={RUN}/{number}"


RUN_PAGE = f"store={RUN}&run={RUN}"
ROWS = "document.querySelectorAll('td.said a').length"


async def test_from_all_runs_to_a_rollout_by_keys_alone(filled: Store, shown: Shown, page: Page) -> None:
    client = await shown()
    await page.go(at(client))
    await page.until("document.querySelector('tbody a.row')")
    assert RUN in await page.text()
    await page.press("j")
    await page.run("document.activeElement.click()")
    await page.until(f"{ROWS} === 12 && document.querySelector('svg.chart .curve')")
    await page.until("document.activeElement.tagName === 'H1'")  # where a screen reader goes on
    text = await page.text()
    assert "env error" in text and "the worker died" in text and "answer 10" in text
    await page.press("/")
    assert await page.run("document.activeElement.id") == "f-text"
    await page.run("document.activeElement.value = 'answer 4'; document.activeElement.form.requestSubmit()")
    await page.until(f"{ROWS} === 1")
    await page.press("Escape")
    await page.press("j")
    await page.run("document.activeElement.click()")
    await page.until("document.querySelector('.talk')")
    assert "answer 4" in await page.text() and "exact" in await page.text()
    await page.press("u")
    await page.until(f"{ROWS} === 1")  # the filter is still there
    assert page.complaints == []


async def test_hostile_rollouts_are_only_text(store: Store, shown: Shown, page: Page) -> None:
    verdict = Verdict(reward=0.0, components={HOSTILE: 1.0}, details={HOSTILE: HOSTILE})
    output = [
        message(HOSTILE),
        {"type": "function_call", "name": HOSTILE, "arguments": HOSTILE, "call_id": "c"},
        {"type": "function_call_output", "call_id": "c", "output": HOSTILE},
    ]
    name = HOSTILE.replace("\0", "")  # which the store takes in no name
    odd = {"environment": name[:100], "labels": {HOSTILE: HOSTILE}, "task_id": name}
    await store.put_rollout(rollout(0, output=output, verdict=verdict, **odd))
    await store.put_rollout(failed(1, Outcome.POLICY_ERROR, group_id="group-0"))
    client = await shown()
    await page.go(at(client, "run", RUN_PAGE))
    await page.until(f"{ROWS} === 2 && document.querySelector('.bar')")
    await page.go(at(client, "rollout", one(0)))
    await page.until("document.querySelectorAll('.part').length === 3")
    shown_text = await page.run("document.querySelector('.part.assistant .text').textContent")
    assert "<script>window.hacked=1</script>" in shown_text and "U+202E" in shown_text and "U+0000" in shown_text
    await page.go(at(client, "compare", f"store={RUN}&a={RUN}/0&b={RUN}/1"))
    await page.until("document.querySelector('.pair')")
    assert await page.run("[window.hacked, document.querySelectorAll('main script, main img').length]") == [None, 0]
    # and were a script of ours to try, the browser would not let it
    assert "TrustedHTML" in await page.run("try { document.body.innerHTML = '<b>x</b>' } catch (e) { e.message }")
    assert [said for said in page.complaints if "TrustedHTML" not in said] == []


async def test_tokens_are_a_heat_map_that_reads_itself_out(
    store: Store, shown: Shown, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "load_tokenizer", lambda folder: Bytes())
    blob, traces = trace("ask", "abcd", [-0.01, -0.5, -2.0, -6.0])
    await store.put_rollout(rollout(0, traces=traces, output=[message("abcd")]), blob)
    await page.go(at(await shown(), "rollout", one(0)))
    await page.until("document.querySelectorAll('.tokens .tok').length === 7")
    kinds = "[...document.querySelectorAll('.tokens .tok')].map(t => t.className.replace('tok ', '')).join(' ')"
    assert await page.run(kinds) == "given given given t5 t3 t2 t0"
    assert "7 tokens, 4 of them sampled; mean log-probability -2.12" in await page.text()
    await page.run("document.querySelector('.tokens').focus()")
    for _ in range(5):
        await page.press("ArrowRight")
    readout = await page.run("document.querySelector('.readout').textContent")
    assert readout == "b token 4, id 98, answer, 61 % (log-probability -0.500), policy version 7"
    assert page.complaints == []


async def test_two_rollouts_are_compared_word_by_word(store: Store, shown: Shown, page: Page) -> None:
    await store.put_rollout(rollout(0, output=[message("the quick brown fox jumps")]))
    await store.put_rollout(rollout(1, output=[message("the slow brown fox jumps high")]))
    await page.go(at(await shown(), "compare", f"store={RUN}&a={RUN}/0&b={RUN}/1"))
    await page.until("document.querySelector('.pair ins')")
    marked = (
        "[...document.querySelectorAll('.pair del, .pair ins')].map(e => e.tagName + ':' + e.textContent).join('|')"
    )
    assert await page.run(marked) == "DEL:quick|INS:slow|INS: high"
    assert await page.run("document.querySelectorAll('tr.differs').length") == 3  # environment, reward, exact
    assert page.complaints == []


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a b c", "a b c"),
        ("", "x"),
        ("x y", ""),
        ("one two three four", "zero one three five four"),
        ("aa\nbb", "bb\ncc"),
    ],
)
async def test_a_difference_rebuilds_both_texts(store: Store, shown: Shown, page: Page, a: str, b: str) -> None:
    await page.go(at(await shown()))
    await page.until("document.querySelector('main h1')")
    script = f"""import('./difference.js').then(m => {{ const {{pieces}} = m.differences({a!r}, {b!r});
        const side = (drop) => pieces.filter(([k]) => k !== drop).map(([, t]) => t).join('');
        return [side('+'), side('-')] }})"""
    assert await page.run(script) == [a, b]


async def test_endless_texts_are_shown_in_pieces(store: Store, shown: Shown, page: Page) -> None:
    await store.put_rollout(rollout(0, output=[message("ä" * 150_000)]))
    await store.put_rollout(rollout(1, output=[message("word " * 30_000)]))
    client = await shown()
    await page.go(at(client, "rollout", one(0)))
    await page.until("document.querySelector('.part button')")
    assert "Show more (130,000 characters left)" in await page.text()
    await page.run("document.querySelector('.part button').click()")
    await page.until("document.querySelector('.part .text').textContent.length === 150000")
    await page.until("!document.querySelector('.part button')")
    await page.go(at(client, "compare", f"store={RUN}&a={RUN}/0&b={RUN}/1"))
    await page.until("document.querySelector('.pair')")  # too different for words: no endless comparing
    assert page.complaints == []


async def test_a_run_that_goes_on_and_is_then_deleted(filled: Store, shown: Shown, page: Page, tmp_path: Path) -> None:
    await page.go(at(await shown(), "run", RUN_PAGE))
    await page.until(f"{ROWS} === 12 && document.querySelector('.link.up')")
    await filled.put_rollout(rollout(12))
    await page.until("document.body.innerText.includes('Show 1 new rollout')")
    await page.run("[...document.querySelectorAll('button')].find(b => b.textContent.startsWith('Show 1')).click()")
    await page.until(f"{ROWS} === 13")
    await filled.close()
    shutil.rmtree(tmp_path / "runs" / RUN, ignore_errors=True)
    await page.until("!document.getElementById('alert').hidden")
    assert "deleted or moved" in await page.run("document.getElementById('alert').innerText")


async def test_a_server_that_is_restarted_is_found_again(filled: Store, page: Page, tmp_path: Path) -> None:
    served = await start(build_app(Library([tmp_path / "runs"])))
    await page.go(f"{served.url}/dashboard/")
    await page.until("document.querySelector('.link.up')")
    await served.close()
    await page.until("document.querySelector('.link.down') && !document.getElementById('alert').hidden")
    async with await start(build_app(Library([tmp_path / "runs"])), port=served.port):
        await page.until("document.querySelector('.link.up') && document.getElementById('alert').hidden")


async def test_a_token_is_asked_for_and_kept(filled: Store, shown: Shown, page: Page) -> None:
    client = await shown(token="correct-horse")
    await page.go(at(client))
    for given in ("wrong", "correct-horse"):
        await page.until("document.getElementById('token')?.value === ''")
        fill = f"const t = document.getElementById('token'); t.value = {given!r}; t.form.requestSubmit()"
        await page.run(f"{{ {fill} }}")
    await page.until("document.querySelector('tbody a.row')")
    assert "correct-horse" not in await page.run("location.href + document.cookie + JSON.stringify(localStorage)")


async def test_an_empty_store_says_what_to_do(store: Store, shown: Shown, page: Page) -> None:
    await page.go(at(await shown()))
    await page.until("document.querySelector('.empty')")
    assert "no run has written to it yet" in await page.text() and "palaestra quickstart" in await page.text()


async def test_what_is_not_there_is_said_plainly(filled: Store, shown: Shown, page: Page) -> None:
    client = await shown()
    await page.go(at(client, "rollout", f"store={RUN}&id=nope"))
    await page.until("document.querySelector('h1')?.textContent === 'Not here'")
    assert "there is no rollout 'nope'" in await page.text()
    await page.go(at(client, "nonsense"))
    await page.until("document.body.innerText.includes('There is no such view')")


async def test_names_landmarks_and_labels(filled: Store, shown: Shown, page: Page) -> None:
    await page.go(at(await shown(), "run", RUN_PAGE))
    await page.until(f"{ROWS} === 12 && document.querySelector('svg.chart')")
    unnamed = """[...document.querySelectorAll('button, a[href], input, select, svg[role=img], [role=img]')].filter(e =>
        !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length || e.type === 'hidden')).length"""
    assert await page.run(unnamed) == 0
    assert await page.run("document.querySelectorAll('main, header, nav[aria-label], [aria-live], h1').length") >= 5
    assert await page.run("document.querySelectorAll('h1').length") == 1
    assert await page.run("document.documentElement.lang") == "en"
    ids = await page.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("width", [320, 768, 1280])
async def test_no_width_needs_sideways_scrolling(filled: Store, shown: Shown, page: Page, width: int) -> None:
    await page.size(width, 800)
    client = await shown()
    for view, query, there in (
        ("run", RUN_PAGE, f"{ROWS} === 12 && document.querySelector('svg.chart')"),
        ("rollout", one(4), "document.querySelector('.talk')"),
        ("compare", f"store={RUN}&a={RUN}/4&b={RUN}/5", "document.querySelector('.pair')"),
    ):
        await page.go(at(client, view, query))
        await page.until(there)
        assert await page.run("document.documentElement.scrollWidth") <= width, view


async def test_themes(filled: Store, shown: Shown, page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    await page.go(at(await shown()))
    await page.until("document.querySelector('tbody a.row')")
    assert await page.run(ground) == "rgb(251, 252, 253)"
    await page.dark(True)
    assert await page.run(ground) == "rgb(15, 21, 26)"
    await page.run("document.getElementById('theme').click()")
    assert await page.run(ground) == "rgb(251, 252, 253)"
    await page.run("location.reload()")
    await page.until(f"document.readyState === 'complete' && {ground} === 'rgb(251, 252, 253)'")
    await page.run("localStorage.clear()")
