"""The page's style sheet: light and dark, wide and narrow."""

from __future__ import annotations

from zoo.report.palette import DARK, LIGHT, TINTS, variables

RULES = """
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1240px;margin:0 auto;padding:24px 20px 48px}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:36px 0 2px}
h3{font-size:.95rem;margin:0 0 8px;overflow-wrap:anywhere}
p{margin:4px 0 12px;max-width:75ch}
code{font:.9em ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.muted,.about,figcaption,footer{color:var(--muted)}
.about,figcaption,footer{font-size:.85rem}
.scroll{overflow-x:auto;background:var(--surface);border:1px solid var(--line);border-radius:8px;margin:12px 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:6px 14px;text-align:left;vertical-align:top;border-top:1px solid var(--line);min-width:9.5em}
thead th,thead td{border-top:0}
thead th{vertical-align:bottom;overflow-wrap:break-word}
tbody th{font-weight:500;white-space:nowrap}
th:first-child{position:sticky;left:0;background:var(--surface);z-index:1}
tr.part th{padding-left:28px;font-weight:400;color:var(--muted)}
tr.same th,tr.same td{color:var(--muted)}
details{margin:8px 0}
summary{cursor:pointer;color:var(--muted)}
.hint{display:none}
.scroll.plain{border:0;margin:0}
tr.section th{font-size:.78rem;letter-spacing:.06em;text-transform:uppercase;color:var(--muted);padding-top:18px}
.bar{display:block;height:3px;border-radius:2px;background:var(--c);margin-top:3px;min-width:1px}
.dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;background:var(--c);margin-right:.45em}
.cards{display:grid;gap:14px;grid-template-columns:repeat(auto-fill,minmax(min(100%,215px),1fr));margin-top:12px}
.card{background:var(--surface);border:1px solid var(--line);border-radius:8px;padding:12px 14px;margin:0;min-width:0}
.cards>.card{display:grid;grid-template-rows:subgrid;grid-row:span 2;row-gap:0;align-content:start}
.cards>.card:has(>:nth-child(3)){grid-row:span 3}
.cards.texts>.card{display:block;grid-row:auto}
.cards.small{grid-template-columns:repeat(auto-fill,minmax(165px,1fr))}
.card.whole{margin-top:12px}
figcaption{margin-top:8px}
.nb{white-space:nowrap}
.card h3{display:flex;align-items:baseline}
.dot{flex:none}
.card svg{margin:0 auto}
.whole svg{margin:0}
svg{display:block;width:100%;height:auto;font-family:inherit}
svg text{fill:var(--ink)}
svg text.muted{fill:var(--muted)}
svg text.strong{font-weight:600}
svg text.name{fill:var(--c);font-weight:600}
.roles{list-style:none;margin:10px 0 0;padding:0;font-size:.85rem;font-variant-numeric:tabular-nums}
.roles li{display:grid;grid-template-columns:1.1em 1fr auto 3.6em;gap:0 .4em;align-items:center;color:var(--muted)}
.roles span:nth-child(n+3){text-align:right}
.chip{width:.75em;height:.75em;border-radius:2px;border:1px solid var(--c)}
.names{display:flex;flex-wrap:wrap;gap:2px 16px;margin:6px 0 0;padding:0;list-style:none;font-size:.85rem}
.narrow{display:none}
.rule{stroke:var(--line)}
.mark{stroke:var(--muted);stroke-dasharray:2 4}
.curve{fill:none;stroke:var(--c);stroke-width:2.2;stroke-linejoin:round}
.second{stroke-width:1.3}
.under{stroke-width:7;stroke-opacity:.45}
.dashed{stroke-dasharray:5 5}
.end{fill:var(--surface);stroke:var(--c);stroke-width:2}
.leader{fill:none;stroke:var(--c);stroke-width:1;stroke-opacity:.5}
.flow{fill:none;stroke:var(--muted);stroke-width:1.3}
.plus{fill:var(--surface);stroke:var(--c);stroke-width:1.6}
.sign{stroke:var(--c);stroke-width:1.6}
rect.attn{fill:var(--t3);stroke:var(--c)}
rect.mlp{fill:var(--t1);stroke:var(--c)}
rect.norm{fill:var(--empty);stroke:var(--line)}
.tile{stroke:var(--surface);stroke-width:2}
.seen{fill:var(--c)}
.empty{fill:var(--empty)}
.cells{fill:none;stroke:var(--surface);stroke-width:.12}
.cards.texts{grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr))}
.text{white-space:pre-wrap;overflow-wrap:anywhere;margin:0}
footer{margin-top:40px;border-top:1px solid var(--line);padding-top:12px}
@media (max-width:900px){
.wide{display:none}
svg.narrow{display:block}
ul.narrow{display:flex}
}
@media (max-width:640px){
.hint{display:block;margin:8px 0 0}
.hint+.scroll{margin-top:4px}
main{padding:16px 12px 32px}
.cards.small{grid-template-columns:1fr 1fr}
.cards.small .card{padding:10px}
th,td{padding:6px 9px;min-width:8em}
tbody th{min-width:7.4em;white-space:normal}
}
@media print{body{background:#fff}.card,.scroll{break-inside:avoid}}
"""


def style(count: int) -> str:
    """The style sheet for a page about `count` models."""
    models = "".join(
        f".m{i}{{--c:var(--m{i});" + "".join(f"--t{k}:var(--m{i}t{k});" for k in range(len(TINTS))) + "}\n"
        for i in range(count)
    )
    fills = "".join(f".t{k}{{fill:var(--t{k})}}.g{k}{{background:var(--t{k})}}\n" for k in range(len(TINTS)))
    dark = f"@media (prefers-color-scheme:dark){{:root{{{variables(DARK, count)}}}}}\n"
    return f":root{{{variables(LIGHT, count)}}}\n{dark}{models}{fills}{RULES}"
