"""Molecules in three dimensions: rotatable plotly scenes of structures and the animated normal mode.

Structures are laid on each other by the rotation and shift that minimise the root-mean-square distance of equal atoms,
for drawing only; the result files keep their own frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spincross import pointgroup
from spincross.figures import BLUE, GREY, PURPLE, VERMILLION, Figure, Json, plain, rounded
from spincross.molecule import bonds
from spincross.units import ANGSTROM_TO_BOHR

Array = NDArray[np.float64]

ELEMENT_COLOURS = {"H": "#d1d5db", "C": "#4b5563", "N": "#0072B2", "O": "#D55E00", "S": "#F0E442", "Fe": "#E69F00"}
ELEMENT_SIZES = {"H": 7, "C": 11, "N": 12, "O": 12, "S": 15, "Fe": 19}
ZOOM = 1.6
"""Size of the cube in plotly's units; 1 leaves the molecule small."""
BEYOND_SULPHUR = 2.5
"""Where the name of a thiocyanate stands, angstrom from its carbon."""
LEGEND = {"orientation": "h", "x": 0, "y": 0, "yanchor": "bottom"}
TURNS, HEIGHTS = (15.0, 0.0, 30.0, -15.0, 45.0, -30.0, 60.0), (0.3, 0.15, 0.45, 0.6)
"""First views that are tried: degrees from the thinnest direction, height over the distance in the plane."""
AROUND_METAL = 4.5
"""Half width of the cube about the metal, angstrom, which shows its bonds and their lengths in a large molecule."""
CLEAR = 0.45
"""Labels of bonds farther apart than this can be read, angstrom in the page."""
LARGEST_MOTION = 0.6
"""Displacement of the atom that moves most in the animation, angstrom."""


def fit(positions: Array, target: Array) -> tuple[Array, Array, Array]:
    """Lay positions (N, 3) on target (N, 3); return them moved, the rotation (3, 3) and the shift (3,)."""
    rotation = pointgroup.rotation_onto(positions, target)
    shift = target.mean(axis=0) - positions.mean(axis=0) @ rotation
    return positions @ rotation + shift, rotation, shift


def spin_colours(populations: list[float]) -> list[str]:
    """Return a colour per atom: orange spin up, blue spin down, pale for none; square root shows small ones."""
    up, down = np.array([213, 94, 0]), np.array([0, 114, 178])
    top = max((abs(p) for p in populations), default=0.0) or 1.0
    colours = []
    for p in populations:
        weight = np.sqrt(min(abs(p) / top, 1.0))
        mixed = (1 - weight) * 245 + weight * (up if p >= 0 else down)
        colours.append("#" + "".join(f"{round(float(c)):02x}" for c in mixed))
    return colours


def _segments(positions: Array, pairs: list[tuple[int, int]]) -> Json:
    """Return x, y, z of line segments with gaps."""
    return {
        name: [v for i, j in pairs for v in (round(float(positions[i, k]), 3), round(float(positions[j, k]), 3), None)]
        for k, name in enumerate("xyz")
    }


def _points(positions: Array) -> Json:
    """Return x, y, z of points."""
    return {name: rounded(positions[:, k], 3) for k, name in enumerate("xyz")}


def _sizes(symbols: list[str]) -> list[float]:
    """Return marker sizes in pixels, smaller for large molecules."""
    scale = 1.0 if len(symbols) < 60 else max(0.45, (60 / len(symbols)) ** 0.5)
    return [round(scale * ELEMENT_SIZES.get(s, 13), 1) for s in symbols]


def _atoms(symbols: list[str], positions: Array, hover: list[str]) -> Json:
    """Return the trace of the atoms."""
    colours = [ELEMENT_COLOURS.get(s, PURPLE) for s in symbols]
    marker = {"size": _sizes(symbols), "color": colours, "opacity": 1, "line": {"color": "#1f2933", "width": 1}}
    more = {"marker": marker, "text": hover, "hoverinfo": "text", "showlegend": False}
    return {"type": "scatter3d", "mode": "markers", **_points(positions), **more}


def _bonds(positions: Array, pairs: list[tuple[int, int]], colour: str, width: int) -> Json:
    """Return the trace of bonds."""
    style = {"color": colour, "width": width}
    return {
        "type": "scatter3d",
        "mode": "lines",
        **_segments(positions, pairs),
        "line": style,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _middles(positions: Array, metal_bonds: list[Json]) -> Array:
    """Return the middles (M, 3) of the metal's bonds."""
    return np.array([positions[list(b["atoms"])].mean(axis=0) for b in metal_bonds]).reshape(-1, 3)


def _bond_labels(positions: Array, metal_bonds: list[Json]) -> Json:
    """Return the lengths of the metal's bonds as text at their middles."""
    text = [f"{b['length']:.2f}" for b in metal_bonds]
    more = {"text": text, "textfont": {"size": 11, "color": "#1f2933"}, "hoverinfo": "skip", "showlegend": False}
    return {"type": "scatter3d", "mode": "text", **_points(_middles(positions, metal_bonds)), **more}


def _axis(half: float) -> Json:
    """Return the 2-fold axis: z through the origin."""
    style = {"color": PURPLE, "width": 4, "dash": "dash"}
    ends = {"x": [0, 0], "y": [0, 0], "z": [-half, half]}
    return {
        "type": "scatter3d",
        "mode": "lines",
        **ends,
        "line": style,
        "hoverinfo": "text",
        "text": "2-fold axis",
        "showlegend": False,
    }


def view_direction(positions: Array, labelled: Sequence[tuple[Array, Array]] = ()) -> dict[str, float]:
    """Return the camera's place: where the molecule is thinnest, turned a little, from a little above.

    Of the turns and heights in `TURNS` and `HEIGHTS` the one is taken in which the labels of one structure, (M, 3) with
    the (N, 3) of its atoms in the frame of `positions` (N, 3), lie least on each other and on atoms.
    """
    flat = positions[:, :2] - positions[:, :2].mean(axis=0)
    _, directions = np.linalg.eigh(flat.T @ flat)
    x, y = directions[:, 0] * (-1 if directions[1, 0] < 0 else 1)
    azimuths = np.arctan2(y, x) + np.deg2rad(TURNS)
    eyes = [np.array([np.cos(a), np.sin(a), height]) for height in HEIGHTS for a in azimuths]
    eye = min(eyes, key=lambda e: round(sum(_crowding(*structure, e) for structure in labelled), 6))
    return dict(zip("xyz", rounded(1.6 * eye / np.linalg.norm(eye), 4), strict=True))


def view(eye: Array) -> Array:
    """Return right, up and forward, the rows of (3, 3), of a camera at `eye`, (3,), with z upwards."""
    right = np.cross([0.0, 0.0, 1.0], eye)
    frame = np.array([right, np.cross(eye, right), eye])
    return np.asarray(frame / np.linalg.norm(frame, axis=1, keepdims=True))


def _crowding(labels: Array, atoms: Array, eye: Array) -> float:
    """Return by how much labels come nearer than CLEAR to each other and to atoms, angstrom."""
    seen, around = labels @ view(eye).T, np.concatenate([labels, atoms]) @ view(eye).T
    apart = np.abs(seen[:, None] - around[None])
    near = np.maximum(apart[:, :, 0] / 2, apart[:, :, 1])
    return float(np.clip(CLEAR - near, 0.0, None).sum()) - CLEAR * len(labels)


def _layout(height: int, half: float, eye: dict[str, float]) -> Json:
    """Return a cube of half width `half` (angstrom) without axes, seen in parallel projection from `eye`."""
    span = [round(-half, 2), round(half, 2)]
    hidden = {"visible": False, "range": span}
    camera = {"projection": {"type": "orthographic"}, "eye": eye, "up": {"x": 0, "y": 0, "z": 1}}
    frame = {"aspectmode": "manual", "aspectratio": {"x": ZOOM, "y": ZOOM, "z": ZOOM}}
    scene = {"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, **frame, "camera": camera, "dragmode": "orbit"}
    margin = {"l": 0, "r": 0, "t": 0, "b": 0}
    return {"height": height, "margin": margin, "paper_bgcolor": "#ffffff", "scene": scene, "showlegend": False}


def _hover(symbols: list[str], spins: list[float] | None) -> list[str]:
    """Return the text of each atom."""
    names = [f"{plain(s)}{i + 1}" for i, s in enumerate(symbols)]
    return names if not spins else [f"{n}<br>spin population {p:+.3f}" for n, p in zip(names, spins, strict=True)]


def _half_width(positions: Array) -> float:
    """Return the half width of the cube that holds the molecule."""
    return float(max(1.5, np.abs(positions).max() * 0.92 + 0.6))


def structure(
    symbols: list[str], positions: Array, optimised: Json, axis: bool, half: float, eye: dict[str, float]
) -> Figure:
    """Draw one structure.

    Parameters
    ----------
    symbols, positions : N elements; (N, 3), angstrom
    optimised : optimise.json of the state (metal_bonds_angstrom, spin_populations are used)
    axis : draw the 2-fold axis along z
    half : half width of the cube shown, angstrom
    eye : place of the camera
    """
    metal_bonds = optimised.get("metal_bonds_angstrom") or []
    metal_pairs = {(min(b["atoms"]), max(b["atoms"])) for b in metal_bonds}
    pairs = [p for p in bonds(tuple(symbols), positions * ANGSTROM_TO_BOHR) if p not in metal_pairs]
    spins = optimised.get("spin_populations")
    atoms = _atoms(symbols, positions, _hover(symbols, spins))
    data = [_bonds(positions, pairs, GREY, 5), atoms]
    if metal_bonds:
        data += [_bonds(positions, sorted(metal_pairs), VERMILLION, 7), _bond_labels(positions, metal_bonds)]
        data.append(_group_labels(positions, optimised.get("metal_angles_degree") or [], metal_bonds[0]["atoms"][0]))
    if axis:
        data.append(_axis(half * 0.95))
    colours = {"element": atoms["marker"]["color"], "spin": spin_colours(spins or [0.0] * len(symbols))}
    figure = {"data": data, "layout": _layout(340, half, eye), "colours": colours, "atoms_trace": 1}
    if metal_bonds and half > 1.5 * AROUND_METAL:
        figure["windows"] = {"molecule": [[-half, half]] * 3, "metal": _around(positions[metal_bonds[0]["atoms"][0]])}
    return figure


def _around(place: Array) -> list[list[float]]:
    """Return the ranges of x, y and z of the cube about a place (3,), angstrom."""
    return [rounded([x - AROUND_METAL, x + AROUND_METAL], 2) for x in place.tolist()]


def structures(
    geometries: dict[str, Json], optimised: dict[str, Json], point_group: str
) -> tuple[dict[str, Figure], dict[str, Array], dict[str, Array]]:
    """Draw every state in one orientation; return figures, positions (N, 3) in it and rotations (3, 3) into it."""
    placed, rotations = {}, {}
    reference = None
    for state, geometry in geometries.items():
        positions = np.array(geometry["positions_angstrom"], dtype=float).reshape(-1, 3)
        if reference is None:
            reference, rotations[state] = positions, np.eye(3)
        else:
            positions, rotations[state], _ = fit(positions, reference)
        placed[state] = positions
    half = max((_half_width(p) for p in placed.values()), default=1.5)
    metal_bonds = {state: optimised.get(state, {}).get("metal_bonds_angstrom") or [] for state in placed}
    labelled = [(_middles(p, metal_bonds[state]), p) for state, p in placed.items()]
    eye = view_direction(reference if reference is not None else np.zeros((1, 3)), labelled)
    figures = {
        state: structure(
            list(geometries[state]["symbols"]), positions, optimised.get(state, {}), point_group == "C2", half, eye
        )
        for state, positions in placed.items()
    }
    return figures, placed, rotations


def animated_mode(symbols: list[str], positions: Array, vector: Array, metal_bonds: list[Json]) -> Figure:
    """Draw a structure with the direction of a normal mode; the page moves it.

    Parameters
    ----------
    symbols : N elements
    positions, vector : (N, 3), angstrom; the vector is scaled so that the largest motion is LARGEST_MOTION
    metal_bonds : those of optimise.json

    Returns
    -------
    figure with the key `motion`: positions, vector (N, 3) and pairs of bonded atoms; its traces 0 and 1 are the bonds
    and the atoms
    """
    largest = float(np.linalg.norm(vector, axis=1).max())
    motion = vector * (LARGEST_MOTION / largest if largest > 0 else 0.0)
    metal_pairs = {(min(b["atoms"]), max(b["atoms"])) for b in metal_bonds}
    pairs = sorted(set(bonds(tuple(symbols), positions * ANGSTROM_TO_BOHR)) | metal_pairs)
    tips = np.concatenate([positions, positions + 1.4 * motion])
    arrows = _bonds(tips, [(i, i + len(symbols)) for i in range(len(symbols))], PURPLE, 4)
    data = [_bonds(positions, pairs, GREY, 5), _atoms(symbols, positions, _hover(symbols, None)), arrows]
    moving = {"positions": [rounded(p, 3) for p in positions], "vector": [rounded(v, 4) for v in motion]}
    layout = _layout(380, _half_width(positions) + 0.3, view_direction(positions))
    return {"data": data, "layout": layout, "motion": moving | {"pairs": pairs}}


def overlay(symbols: list[str], first: Array, second: Array, names: tuple[str, str]) -> Figure:
    """Lay the second structure (N, 3), angstrom, on the first (thick, blue) by the best fit."""
    moved, _, _ = fit(second, first)
    data = []
    for places, name, colour, width in ((first, names[0], BLUE, 7), (moved, names[1], VERMILLION, 3)):
        pairs = bonds(tuple(symbols), places * ANGSTROM_TO_BOHR)
        atoms = _atoms(symbols, places, [f"{h}, {name}" for h in _hover(symbols, None)])
        atoms["marker"] = {"size": [0.4 * s for s in atoms["marker"]["size"]], "color": colour, "opacity": 1}
        data += [_bonds(places, pairs, colour, width) | {"name": name, "showlegend": True}, atoms]
    layout = _layout(340, max(_half_width(first), _half_width(moved)), view_direction(first))
    return {"data": data, "layout": layout | {"showlegend": True, "legend": LEGEND}}


def _group_labels(positions: Array, angles: list[Json], metal: int) -> Json:
    """Name the thiocyanates beyond their sulphur atoms; `angles` are those of optimise.json (metal, N, C)."""
    bent = [a["atoms"][1:] for a in angles if a["atoms"][0] == metal]
    along = [(positions[c] - positions[n]) / np.linalg.norm(positions[c] - positions[n]) for n, c in bent]
    ends = np.array([positions[c] + BEYOND_SULPHUR * u for (_, c), u in zip(bent, along, strict=True)]).reshape(-1, 3)
    more = {"text": [f"NCS {k}" for k in range(1, len(bent) + 1)], "textfont": {"size": 12, "color": "#1f2933"}}
    return {"type": "scatter3d", "mode": "text", **_points(ends), **more, "hoverinfo": "skip", "showlegend": False}
