"""The page in a real browser: two models side by side, token by token, with their probabilities, and no network."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from tests.serving.browser import CHROMIUM, Browser
from zoo.generation import generate

SEEN = """(() => {
  const boxes = [...document.querySelectorAll('section')];
  if (boxes.length !== 2 || boxes.some(box => !box.dataset.state)) return null;
  return boxes.map(box => ({name: box.querySelector('h2').textContent, state: box.dataset.state,
    said: box.querySelector('.text').textContent, told: box.querySelector('.state').textContent,
    scores: [...box.querySelectorAll('.text button')].map(b => Number(b.dataset.logprob)),
    wide: document.documentElement.scrollWidth <= document.documentElement.clientWidth}));
})()"""
TABLE = """(() => {
  document.querySelector('section .text button').click();
  return [...document.querySelectorAll('section table td')].map(cell => cell.textContent);
})()"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_two_models_answer_side_by_side(server, tiny, tmp_path):
    prompt = 'She said <b>"&'
    client, running = server
    before = running.worker.counts["texts"]
    browser = Browser(f"{str(client.base_url).rstrip('/')}/#{quote(prompt)}", tmp_path)
    try:
        found = browser.until(SEEN)
        cells = browser.until(TABLE)
    finally:
        browser.close()
    out = generate(tiny, prompt, max_new_tokens=48, temperature=0.0)
    assert [box["name"] for box in found] == ["tiny", "talker"]
    for box in found:
        assert box["state"] == "done", box["told"]
        assert box["said"] == prompt + out.text
        assert len(box["scores"]) == len(out.new_tokens[0])
        assert all(score <= 0 for score in box["scores"])
        assert box["wide"]
    assert len(cells) >= 10
    assert cells[1].endswith(" %")
    assert running.worker.counts["texts"] - before == 2
    assert browser.noises == []


@pytest.mark.slow
def test_the_page_fetches_nothing_and_lets_no_name_be_markup(server):
    from zoo.serving.page import POLICY, page

    answer = server[0].get("/")
    assert answer.headers["content-security-policy"] == POLICY
    assert "default-src 'none'" in POLICY
    assert not re.findall(r"(?:src|href)\s*=|url\(|https?://|innerHTML", answer.text)
    assert "</script><b>" not in page(["</script><b>"])
