"""A wrong state is refused with its numbers, or warned about where the configuration says so."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from sample_h2co import EXCITED, H2CO, LEVEL
from spincross import electronic, gates, populations, response
from spincross.errors import SymmetryLost, WrongState
from spincross.levels import State
from spincross.orbital_rotations import UNSTABLE, Rotation, Stability

LIMITS = {
    "s_squared_warning": 0.1,
    "s_squared_error": 0.5,
    "metal_spin_high": [3.4, 4.1],
    "density_asymmetry": 1e-3,
    "gradient_asymmetry": 1e-4,
    "stability": True,
    "on_failure": "error",
}
WARN = LIMITS | {"on_failure": "warning"}
STABLE = Stability((Rotation("A", 0.05, []),))
DOWN = Stability((Rotation("B", -0.05, []), Rotation("A", 0.01, [])))
OPEN = Stability((Rotation("A singlet", 0.1, []), Rotation("A triplet", -0.05, [], breaks_spin=True)))
IRON = SimpleNamespace(symbols=("Fe", "N"))


@pytest.fixture(autouse=True)
def symmetric(monkeypatch, request):
    if not {"triplet", "thiocyanate"} & set(request.fixturenames):
        monkeypatch.setattr(gates.descent, "asymmetry", lambda solution, molecule: 0.0)


def judge(s_squared, state, metal=None, limits=LIMITS, tested=None):
    return gates.judge(
        SimpleNamespace(s_squared=s_squared), IRON, state, metal, limits, STABLE if tested is None else tested
    )


def test_spin_contamination_is_a_warning_then_an_error():
    assert judge(2.05, State("HS", 3)) == []
    assert "2.300" in judge(2.3, State("HS", 3))[0]
    with pytest.raises(WrongState, match=r"2\.600"):
        judge(2.6, State("HS", 3))


@pytest.mark.parametrize("population", [2.9, 3.39, 4.11])
def test_iron_without_its_four_unpaired_electrons_is_refused(monkeypatch, population):
    monkeypatch.setattr(populations, "spin_populations", lambda solution: np.array([population, 1.1]))
    with pytest.raises(WrongState, match=f"{population:.2f}"):
        judge(6.01, State("HS", 5), "Fe")


@pytest.mark.parametrize("population", [3.41, 3.8, 4.09])
def test_iron_with_its_four_unpaired_electrons_is_taken(monkeypatch, population):
    monkeypatch.setattr(populations, "spin_populations", lambda solution: np.array([population, 1.1]))
    assert judge(6.01, State("HS", 5), "Fe") == []


@pytest.mark.parametrize(
    ("metal", "multiplicity", "population", "said"),
    [
        ("Fe", 2, 0.02, True),  # iron(II) of low spin beside a radical
        ("Fe", 2, 1.1, False),
        ("Fe", 6, 4.1, False),
        ("Fe", 6, 3.8, True),
        ("Co", 4, 2.7, False),
        ("Co", 4, 1.9, True),
        ("Fe", 1, 0.0, False),
        (None, 3, 0.0, False),
    ],
)
def test_spin_that_is_not_on_the_metal_is_a_warning(monkeypatch, metal, multiplicity, population, said):
    monkeypatch.setattr(populations, "spin_populations", lambda solution: np.array([population, 0.0]))
    complex_ = SimpleNamespace(symbols=(metal or "C", "N"))
    solution, state = SimpleNamespace(s_squared=(multiplicity**2 - 1) / 4), State("HS", multiplicity)
    found = gates.judge_spin(solution, complex_, state, metal, LIMITS)
    words = f"population of {metal} in HS is {population:.2f}, of {multiplicity - 1} unpaired electrons"
    assert [words in text for text in found] == [True] * said


def test_a_solution_that_stays_unstable_is_an_error_with_its_eigenvalue():
    with pytest.raises(WrongState, match=r"-0\.0500"):
        judge(2.0, State("HS", 3), tested=DOWN)
    assert judge(2.0, State("HS", 3), tested=STABLE) == []


def test_an_open_shell_singlet_below_a_closed_shell_is_a_warning():
    assert "RKS to UKS" in judge(0.0, State("LS", 1), tested=OPEN)[0]


def test_in_warning_mode_every_failure_is_a_sentence_with_its_numbers(monkeypatch):
    monkeypatch.setattr(populations, "spin_populations", lambda solution: np.array([2.9, 1.1]))
    monkeypatch.setattr(gates.descent, "asymmetry", lambda solution, molecule: 0.25)
    iron = SimpleNamespace(symbols=("Fe", "N"), point_group="C2")
    found = gates.judge(SimpleNamespace(s_squared=7.0), iron, State("HS", 5), "Fe", WARN, DOWN)
    assert all(text.startswith("gate failed: ") for text in found)
    assert [number in text for number, text in zip(("7.000", "2.90", "2.50e-01", "-0.0500"), found, strict=True)] == [
        True
    ] * 4


def test_a_density_that_left_the_group_is_refused_with_the_number(triplet):
    solution = triplet[0]
    assert gates.judge(solution, H2CO, State("HS", 3), None, LIMITS, STABLE) == []
    labels = gates.descent.irreps.adapted(solution.mean_field.mol, "C2").labels(solution.orbitals[0])
    alpha = solution.orbitals[0].copy()
    virtual = np.asarray(solution.mean_field.mo_coeff[0])[:, np.asarray(solution.mean_field.mo_occ[0]) == 0]
    names = gates.descent.irreps.adapted(solution.mean_field.mol, "C2").labels(virtual)
    a, b = labels.index("A"), names.index("B")
    alpha[:, a] = np.cos(0.1) * alpha[:, a] + np.sin(0.1) * virtual[:, b]
    broken = SimpleNamespace(orbitals=(alpha, solution.orbitals[1]), mean_field=solution.mean_field, s_squared=2.0)
    with pytest.raises(SymmetryLost, match=r"breaks C2 by 1\.4.e-01 electrons"):
        gates.judge(broken, H2CO, State("HS", 3), None, LIMITS, STABLE)


def test_the_stability_test_marks_what_can_be_followed():
    excited = electronic.solve(H2CO, LEVEL, State("HS", 3, EXCITED))
    found = gates.stability(excited, LIMITS)
    assert found.downward.block == "B"
    assert found.downward.eigenvalue < UNSTABLE
    assert gates.stability(excited, LIMITS | {"stability": False}) == Stability()


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_a_stability_test_that_does_not_fit_reads_its_integrals_from_disk(monkeypatch, capsys, multiplicity):
    inside = electronic.solve(H2CO, LEVEL, State("x", multiplicity))
    outside = electronic.solve(H2CO, LEVEL, State("x", multiplicity), inside.orbitals, max_memory=1)
    assert not isinstance(outside.mean_field.with_df._cderi, np.ndarray)
    expected = gates.stability(inside, LIMITS)
    assert "from integrals on disk" not in capsys.readouterr().out
    monkeypatch.setattr(response, "induced_potential", lambda *arguments: pytest.fail("not enough memory"))
    found = gates.stability(outside, LIMITS)
    assert re.search(r"from integrals on disk: in memory they need \d+ MB of 1 MB", capsys.readouterr().out)
    assert found.eigenvalue == pytest.approx(expected.eigenvalue, abs=1e-5)


@pytest.mark.parametrize(("eigenvalue", "says"), [(3e-4, True), (-9e-4, True), (2e-3, False)])
def test_a_solution_on_the_brink_of_instability_is_a_warning_with_its_eigenvalue(eigenvalue, says):
    found = judge(6.0, State("HS", 5), tested=Stability((*STABLE.rotations, Rotation("B", eigenvalue, []))))
    assert [f"{eigenvalue:.5f} Eh (rotations B, noise 1e-03); another state" in text for text in found] == [True] * says


@pytest.mark.parametrize("sharp", [True, False])
def test_rotations_on_the_brink_are_searched_again_on_the_grid_of_the_scf(triplet, monkeypatch, capsys, sharp):
    """And no others."""
    rows, asked = {0: [Rotation("A", 0.05, []), Rotation("B", 4e-4, [])]}, []
    rows[LEVEL.grid_level] = [Rotation("B", 7e-4, [], noise=1e-4)]

    def search(mean_field, group, grid_level, place, rough):
        asked.append([r.block for r in rough])
        return rows[grid_level]

    assert LEVEL.grid_level != gates.STABILITY_GRID
    monkeypatch.setattr(gates.orbital_rotations, "lowest_rotations", search)
    found = gates.stability(triplet[0], LIMITS, sharp=sharp)
    assert asked == ([[], ["B"]] if sharp else [[]])
    assert [r.eigenvalue for r in found.rotations] == [0.05, 7e-4 if sharp else 4e-4]
    assert bool(found.undecided) != sharp
    assert ("0.00040 Eh (B), zero within the noise of the test: again on grid" in capsys.readouterr().out) == sharp


def test_a_stability_that_was_not_tested_is_a_warning():
    assert judge(2.0, State("HS", 3), tested=Stability()) == [
        "the stability of HS was not tested (gates.stability: false)"
    ]


def test_forces_that_left_the_group_are_an_error_or_a_warning():
    steps = [{"gradient_asymmetry_hartree_per_bohr": size} for size in (1e-7, 3e-4, 0.0)]
    with pytest.raises(SymmetryLost, match=r"broke C2 by up to 3\.00e-04 Eh/bohr .*gates\.gradient_asymmetry"):
        gates.judge_forces(steps, State("HS", 3), "C2", LIMITS)
    assert "3.00e-04" in gates.judge_forces(steps, State("HS", 3), "C2", WARN)[0]
    assert gates.judge_forces(steps[:1], State("HS", 3), "C2", LIMITS) == []


def test_a_minimum_above_its_start_is_another_state():
    assert gates.judge_descent(-10.0, -9.99999, State("HS", 3), LIMITS) == []
    assert gates.judge_descent(-10.0, np.inf, State("HS", 3), LIMITS) == []
    with pytest.raises(
        WrongState, match=r"relaxed to -10\.00000000 Eh, above -10\.00010000 Eh at its start or on the way"
    ):
        gates.judge_descent(-10.0, -10.0001, State("HS", 3), LIMITS)
    assert "another electronic state" in gates.judge_descent(-10.0, -10.0001, State("HS", 3), WARN)[0]
