"""The words of the command line: what each stage makes and which options it takes beside those of all stages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from spincross import config

STATE = ("--state", "--group")
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "molecule": ("what is taken for the complex: formula, bonds, group, doubts (seconds)", ()),
    "crystal": ("octahedron, cells and strain of the CIFs (seconds)", ()),
    "states": ("SCFs of the candidate states at the start geometries", ("--states", "--no-search")),
    "optimise": ("the geometry of --state in --group", STATE),
    "hessian": ("Hessian of an optimised geometry", STATE),
    "vibrations": ("normal modes, from a Hessian", STATE),
    "symmetry-mode": ("the scan along the mode that breaks the parent group", ()),
    "assess-symmetry-mode": ("what the mode gains, from scan and relaxed HS", ()),
    "entropy": ("the entropy account", ()),
    "landau": ("the Landau model", ()),
    "draw-landau": ("figures 1, 2 and 5 of the paper with the parameters in landau.json", ()),
    "report": ("report.html and summary.json", ()),
    "chain": ("all DFT stages that are neither finished nor recorded", ()),
    "progress": ("how far the DFT stages are, and their numbers so far (seconds)", ()),
    "pack": ("a job folder for another host, --into FOLDER", ("--into",)),
    "store": ("reference records from finished results", ()),
    "leave-saddle": ("a new start beside a saddle within the group", STATE),
    "probe-instability": ("the lowest modes of one --irrep, from tens of gradients", (*STATE, "--irrep")),
    "fit": ("the Landau model fitted to --data", ("--data", "--free", "--chi-t")),
    "phase-diagram": ("the Landau model over temperature and one --parameter", ("--parameter", "--range")),
}
"""What each stage makes, and its own options."""
ENDS: dict[str, Any] = {"nargs": 2, "type": float, "metavar": ("LOW", "HIGH")}
OPTIONS: dict[str, dict[str, Any]] = {
    "--state": {"choices": ["LS", "HS"], "default": "HS", "help": "spin state (HS unless given)"},
    "--group": {"help": "point group imposed (the parent group unless given)"},
    "--irrep": {"help": "irrep of the group, as B in C2"},
    "--into": {"type": Path, "metavar": "FOLDER", "help": "the folder to make"},
    "--states": {"default": "LS,HS", "help": "which spin states"},
    "--no-search": {"action": "store_true", "help": "one SCF each, no search among candidates"},
    "--data": {"type": Path, "help": "table with temperature_K, branch, chi_T_cm3_K_per_mol or more"},
    "--free": {"default": "", "help": "parameters to fit, as T_SC,C,D (the default)"},
    "--chi-t": ENDS | {"help": "chi_M T of pure LS and HS, cm3 K/mol, where known (fitted without)"},
    "--parameter": {"help": "name of a Landau parameter"},
    "--range": ENDS | {"help": "its values"},
}
"""Options that belong to some stages only."""
OTHERS = (
    "`python -m spincross build --help`: build a model of a complex from a SMILES. "
    "`python -m spincross check-gpu`: compare the GPU of this host with its CPU."
)


def common() -> argparse.ArgumentParser:
    """Return the parser of the options that every stage takes."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--complex", help="id from structures/complexes.yaml")
    parser.add_argument("--config", type=Path, default=config.WORKFLOW / "config/config.yaml")
    parser.add_argument("--structures", type=Path, default=config.STRUCTURES)
    parser.add_argument("--results", type=Path, default=Path("results"), help="where inputs lie and outputs go")
    parser.add_argument("--workdir", type=Path, default=Path("work"), help="restart data; a killed run goes on from it")
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", help="stop then; the next start goes on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a key of the configuration: memory_mb=64000, hessian.step=0.003, ...")  # fmt: skip
    parser.add_argument("--job", type=Path, metavar="FOLDER", help="a folder made by pack: all paths and the complex")
    return parser


def parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of all stages; `stage`, `state` and `group` are there for each of them."""
    whole = argparse.ArgumentParser(prog="python -m spincross", description=description, epilog=OTHERS)
    whole.set_defaults(state="HS", group=None)
    stages = whole.add_subparsers(dest="stage", required=True, metavar="STAGE", title="stages")
    for stage, (said, options) in STAGES.items():
        own = stages.add_parser(stage, help=said, description=f"{stage}: {said}", parents=[common()])
        for option in options:
            own.add_argument(option, **OPTIONS[option])
    return whole
