"""A quick look at one irrep, and what vibrations.json says."""

from spincross import files, vibration_stages


def test_a_probe_writes_what_it_found_and_what_it_cost(small_settings, optimised, tmp_path):
    vibration_stages.probe_instability(
        small_settings, "h2co", "LS", "B", optimised, tmp_path / "out", tmp_path / "work"
    )
    found = files.read_json(tmp_path / "out/probe_B.json")
    assert found["verdict"] == "stable"
    assert found["gradients"] <= 3 < found["gradients_of_full_hessian"] == 14
