"""A tree of calls as a flame graph: one SVG that needs nothing else.

Callers are below, the called stand on them; the width is the share of the whole. A click on a box makes it as wide as the
picture, one on the lowest box shows all again. Which colour a function has tells whose it is: ours (the kernel and the shell)
stand out from the server's and the libraries'.
"""
from __future__ import annotations

import html

from stacks import SMALLEST, Node

WIDTH, ROW, LETTER, TOP = 1400, 18, 6.6, 40
OURS, OTHERS = "#f0a35b", "#c9d3de"
COLORS = {True: OURS, False: OTHERS}
SCRIPT = """
const boxes = [...document.querySelectorAll('g[data-x]')], width = %d, letter = %s;
function show(x0, w0, depth) {
  for (const g of boxes) {
    const x = (+g.dataset.x - x0) / w0 * width, w = +g.dataset.w / w0 * width, below = +g.dataset.depth < depth;
    const seen = below ? x <= 0.01 && x + w >= width - 0.01 : x >= -0.01 && x + w <= width + 0.01 && w > 0.3;
    g.style.display = seen ? '' : 'none';
    const left = below ? 0 : x, wide = below ? width : w, name = g.dataset.name, fit = Math.floor((wide - 6) / letter);
    g.querySelector('rect').setAttribute('x', left);
    g.querySelector('rect').setAttribute('width', Math.max(wide - 0.5, 0.5));
    const t = g.querySelector('text');
    t.setAttribute('x', left + 3);
    t.textContent = fit < 3 ? '' : name.length <= fit ? name : name.slice(0, fit - 1) + '\\u2026';
  }
}
for (const g of boxes) g.addEventListener('click', () => show(+g.dataset.x, +g.dataset.w, +g.dataset.depth));
show(0, 1, 0);
"""


def boxes(node: Node, whole: float, left: float, depth: int, ours: frozenset[str]) -> list[str]:
    """left and the widths are parts of the whole."""
    width = node.total / whole
    name = html.escape(node.name, quote=True)
    out = [f'<g data-x="{left:.6f}" data-w="{width:.6f}" data-depth="{depth}" data-name="{name}"><rect y="-{(depth + 1) * ROW}"'
           f' height="{ROW - 1}" rx="2" fill="{COLORS[node.name in ours]}"/><text y="-{depth * ROW + 5}"></text>'
           f"<title>{name}: {100 * width:.1f} %</title></g>"]
    for child in sorted(node.calls.values(), key=lambda child: -child.total):
        if child.total >= whole * SMALLEST:
            out += boxes(child, whole, left, depth + 1, ours)
            left += child.total / whole
    return out


def depth_of(node: Node, smallest: float) -> int:
    return 1 + max((depth_of(child, smallest) for child in node.calls.values() if child.total >= smallest), default=0)


def flame(root: Node, title: str, ours: frozenset[str]) -> str:
    """ours: the names of our functions."""
    height = depth_of(root, root.total * SMALLEST) * ROW + TOP
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"
 font-family="DejaVu Sans Mono, monospace" font-size="11"><style>g[data-x] {{ cursor: pointer }} g[data-x]:hover rect
 {{ stroke: #1c2733 }} text {{ pointer-events: none }}</style><rect width="100%" height="100%" fill="#fff"/>
<text x="4" y="16" font-size="14" font-weight="bold">{html.escape(title)}</text>
<text x="4" y="32" fill="#55616e">orange: the extension's own functions; grey: the server's and libraries'</text>
<g transform="translate(0 {height})">
{chr(10).join(boxes(root, root.total, 0, 0, ours))}
</g><script><![CDATA[{SCRIPT % (WIDTH, LETTER)}]]></script></svg>
"""
