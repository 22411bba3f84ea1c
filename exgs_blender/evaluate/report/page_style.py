# SPDX-License-Identifier: GPL-3.0-or-later
"""Style and script of the report's page, inline in it: the page asks nothing of the network."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --ink: #22211f; --soft: #6d6a65; --line: #dedad3; --card: #fff; --accent: #b4502a;
  --warn: #fff3dc; --warn-line: #e0a63c; }
@media (prefers-color-scheme: dark) { :root { --paper: #17171a; --ink: #e8e6e1; --soft: #9a978f; --line: #34343a; --card: #202024;
  --accent: #f0915f; --warn: #332a17; --warn-line: #b98a35; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 60px; max-width: 1180px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
header p, .soft, figcaption, th { color: var(--soft); }
header p { margin: 0; }
h1 { margin: 6px 0 22px; font-size: 28px; line-height: 1.2; font-weight: 650; text-wrap: balance; }
h1 span { display: block; font-size: 20px; font-weight: 450; color: var(--soft); }
h2 { margin: 44px 0 10px; padding-top: 14px; border-top: 1px solid var(--line); font-size: 20px; }
h3 { margin: 26px 0 8px; font-size: 16px; }
h3 small { margin-left: 10px; font-weight: 400; color: var(--soft); }
dl.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 0 0 18px; }
dl.tiles div { padding: 10px 14px; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
dl.tiles dt { color: var(--soft); font-size: 13px; }
dl.tiles dd { margin: 0; font-size: 21px; font-variant-numeric: tabular-nums; }
dl.tiles dd small { display: block; font-size: 12px; color: var(--soft); }
ul.warnings { margin: 0 0 18px; padding: 10px 14px 10px 32px; background: var(--warn);
  border-left: 4px solid var(--warn-line); border-radius: 6px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 14px; }
.crops { display: flex; flex-wrap: wrap; gap: 12px 28px; }
figure { margin: 0; }
figure img { display: block; max-width: 100%; border-radius: 4px; }
figcaption { margin-top: 4px; font-size: 13px; }
.swipe { position: relative; --cut: 50%; overflow: hidden; border-radius: 4px; }
.swipe img { width: 100%; height: auto; }
.swipe img + img { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--cut)); }
.swipe i { position: absolute; top: 0; bottom: 0; left: var(--cut); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 3px #000; }
.swipe b { position: absolute; bottom: 6px; padding: 1px 7px; font-size: 12px; font-weight: 500;
  color: #fff; background: #0009; border-radius: 4px; }
.swipe b:last-child { right: 6px; }
.swipe b:nth-last-child(2) { left: 6px; }
input[type=range] { width: 100%; margin: 6px 0 0; accent-color: var(--accent); }
.heat { width: 100%; height: auto; }
.legend { display: flex; align-items: center; gap: 8px; margin-top: 9px; font-size: 13px; color: var(--soft); }
.legend span:nth-child(2) { flex: 1; height: 10px; border-radius: 5px; }
.exact { display: flex; gap: 4px; }
.exact img { image-rendering: pixelated; border-radius: 2px; max-width: none; }
.scroll + .scroll { margin-top: 22px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: 60%; }
th, td { padding: 4px 14px 4px 0; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
th:first-child, td:first-child { text-align: left; }
tr.total td { font-weight: 600; border-bottom: 0; }
td.bar { width: 30%; padding-right: 0; }
td.bar span { display: block; height: 9px; min-width: 1px; background: var(--accent); border-radius: 3px; }
.scroll { overflow-x: auto; }
footer { margin-top: 44px; padding-top: 12px; border-top: 1px solid var(--line); font-size: 13px; color: var(--soft); }
"""

SCRIPT = """
for (const slider of document.querySelectorAll("input[type=range]"))
  slider.addEventListener("input", () => slider.previousElementSibling.style.setProperty("--cut", slider.value + "%"));
"""
