#!/usr/bin/env python3
"""Plots what a packet costs among ever more flows: docs/growth.svg, of what `./dev bench growth` measured."""

import json
import math
from pathlib import Path

MEASURED = Path("target/criterion/growth")
PLOT = Path("docs/growth.svg")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 60, 20, 40, 50
CURVES = [("hit", "packet of an established flow", "#1565c0"), ("miss", "first packet of a new flow", "#c62828")]


def measured(curve):
    """Flows and nanoseconds a packet, with the ends of the confidence interval, by the number of flows."""
    points = []
    for path in MEASURED.glob(f"{curve}_*/new/estimates.json"):
        median = json.loads(path.read_text())["median"]
        interval = median["confidence_interval"]
        flows = int(path.parts[-3].removeprefix(f"{curve}_"))
        points.append((flows, median["point_estimate"], interval["lower_bound"], interval["upper_bound"]))
    return sorted(points)


def main():
    curves = {curve: measured(curve) for curve, _, _ in CURVES}
    flows = [point[0] for points in curves.values() for point in points]
    top = math.ceil(max(point[3] for points in curves.values() for point in points) / 100) * 100
    span = math.log(max(flows) / min(flows))
    x = lambda count: LEFT + math.log(count / min(flows)) / span * (WIDTH - LEFT - RIGHT)
    y = lambda nanoseconds: HEIGHT - BOTTOM - nanoseconds / top * (HEIGHT - TOP - BOTTOM)
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for tick in range(0, top + 1, 100):
        svg.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>')
        svg.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
    for count in sorted(set(flows)):
        svg.append(f'<text x="{x(count):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{count:,}</text>')
    svg.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">flows</text>')
    svg.append(f'<text x="{LEFT}" y="{TOP - 22}">nanoseconds a packet, in batches of 32</text>')
    for row, (curve, label, colour) in enumerate(CURVES):
        points = curves[curve]
        line = " ".join(f"{x(count):.1f},{y(median):.1f}" for count, median, _, _ in points)
        svg.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for count, median, low, high in points:
            svg.append(f'<line x1="{x(count):.1f}" x2="{x(count):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}" stroke="{colour}"/>')
            svg.append(f'<circle cx="{x(count):.1f}" cy="{y(median):.1f}" r="3" fill="{colour}"/>')
        svg.append(f'<text x="{LEFT + 12}" y="{TOP + 6 + 18 * row}" fill="{colour}">{label}</text>')
    PLOT.write_text("\n".join([*svg, "</svg>", ""]))


if __name__ == "__main__":
    main()
