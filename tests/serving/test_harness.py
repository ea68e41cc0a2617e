"""lm-evaluation-harness' own client, against the same model as zoo's adapter asks it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long]  # the harness takes long to import

pytest.importorskip("lm_eval", reason="the harness is in the extra eval")
pytest.importorskip("aiohttp", reason="the harness asks by aiohttp")
pytest.importorskip("tenacity", reason="the harness asks by tenacity")


@pytest.fixture(scope="module")
def both(server, tiny):
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    from zoo.measurement.harness import ZooLM

    folder = str(tiny.ledger.checkpoint.folder)
    theirs = LocalCompletionsAPI(
        base_url=f"{str(server[0].base_url).rstrip(chr(47))}/v1/completions",
        model="tiny", tokenizer=folder, tokenizer_backend="huggingface", max_length=256, batch_size=3, num_concurrent=2,
        add_bos_token=True,
    )  # fmt: skip
    return theirs, ZooLM(tiny, tiny.ledger.tokenizer, settings=tiny.ledger.settings()[0])


def asked(*pairs: object) -> list[SimpleNamespace]:
    return [SimpleNamespace(args=pair, doc_id=0, idx=0, arguments=pair) for pair in pairs]


def test_likelihoods_are_those_of_zoos_adapter(both):
    theirs, ours = both
    requests = asked(("She had", " been there"), ("It was a", " table"), ("The", " man said"), ("He", " was not"))
    found, expected = theirs.loglikelihood(requests), ours.loglikelihood(requests)
    assert [nats for nats, _ in found] == pytest.approx(
        [nats for nats, _ in expected], abs=1e-3
    )  # sums in another order
    assert [is_greedy for _, is_greedy in found] == [is_greedy for _, is_greedy in expected]


def test_continuations_are_those_of_zoos_adapter(both):
    theirs, ours = both
    how = {"until": ["."], "max_gen_toks": 12, "temperature": 0.0, "do_sample": False}
    requests = asked(("She had", how), ("It was a", how))
    assert theirs.generate_until(requests) == ours.generate_until(requests)
