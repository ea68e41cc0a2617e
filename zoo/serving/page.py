"""The page at `/`: models answer the same prompt side by side, token by token, with their probabilities.

One file of its own: nothing is fetched but answers from this server, and what models say is never read as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence

from zoo.serving.page_script import SCRIPT

STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:72rem;margin:0 auto;padding:1rem}
h1{font-size:1.2rem;margin:0 0 .8rem}
textarea{width:100%;box-sizing:border-box;font:inherit;min-height:5rem}
form p{display:flex;flex-wrap:wrap;gap:.4rem 1rem;margin:.5rem 0;align-items:center}
input[type=number]{width:5.5rem}input[type=password]{width:9rem}input,select,button{font:inherit}
#answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem}
section{border:1px solid #8888;border-radius:.4rem;padding:.6rem .8rem;min-width:0}
section h2{font-size:1rem;margin:0 0 .4rem;overflow-wrap:anywhere}
.text{white-space:pre-wrap;overflow-wrap:anywhere;min-height:3rem}
.text button{all:unset;cursor:pointer;border-radius:.15rem;
background:color-mix(in srgb,#d33 calc((1 - var(--p)) * 55%),transparent)}
.text button:focus-visible{outline:2px solid}
.state,.prompt{opacity:.7}.state{font-size:.85rem}.error{color:#c22}
table{border-collapse:collapse;font-size:.9rem;margin-top:.5rem}td{padding:0 .8rem 0 0}
td:first-child{font-family:monospace;white-space:pre-wrap;overflow-wrap:anywhere}
"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY = (
    f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
BODY = """
<h1>zoo serve</h1>
<form id="form">
<textarea id="prompt" aria-label="Prompt" placeholder="A text to continue, or a message"></textarea>
<p><label>Model <select id="a"></select></label> <label>beside <select id="b"></select></label>
<label><input type="checkbox" id="chat"> as a message</label></p>
<p><label>Tokens <input type="number" id="tokens" min="1" value="48"></label>
<label>Temperature <input type="number" id="temperature" min="0" max="2" step="0.1" value="0"></label>
<label>Seed <input type="number" id="seed" min="0" value="0"></label>
<label>Key <input type="password" id="key" autocomplete="off"></label>
<button id="go">Answer</button> <button id="stop" type="button" disabled>Stop</button></p>
</form>
<div id="answers"></div>
"""


def page(names: Sequence[str]) -> str:
    """The whole page for models of these names."""
    told = json.dumps([*names]).replace("<", "\\u003c").replace("&", "\\u0026")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>zoo serve</title>'
        f'<style>{STYLE}</style></head><body>{BODY}<script type="application/json" id="models">{told}</script>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )
