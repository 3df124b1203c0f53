from moodlens.report.decide import decide_finding

OPEN = {"value": 0.9, "bar": 0.8, "passed": True}
NAMES = ("clips_per_emotion", "effect", "acoustic_match", "p_layers", "silhouette")
LOOK = {"number": 1, "planned": 1, "n_per_emotion": 16}


def decided(**changed: dict) -> dict:
    gates = {name: changed.get(name, OPEN) for name in NAMES}
    failed = [name for name in NAMES[:-1] if not gates[name]["passed"]]
    return {"gates": {"passed": not failed, "failed": failed, **gates}, "look": LOOK}


def test_open_gates_say_go_and_name_the_only_look():
    finding = decide_finding(decided(), [])
    assert finding.summary.startswith("Go:")
    assert "only look" in finding.summary
    assert len(finding.grids) == 1


def test_a_closed_gate_is_named_and_what_was_not_measured_is_said():
    finding = decide_finding(decided(acoustic_match={"value": None, "bar": 0.8, "passed": False}), [])
    assert "clips whose acoustics match the emotion" in finding.summary
    rows = {row[0].text: row[3].text for row in finding.grids[0].rows}
    assert rows["clips whose acoustics match the emotion"] == "not measured"
    assert rows["clips per emotion"] == "open"


def test_a_planned_look_says_its_levels_and_what_is_spent():
    look = {"number": 1, "planned": 2, "n_per_emotion": 10, "alpha_weak": 0.0052, "alpha_strong": 0.00001}
    finding = decide_finding({**decided(), "look": {**look, "alpha_spent": 0.0052}}, [])
    assert "Look 1 of 2 at 10 prompts per emotion: tested at 0.0052 (weak)" in finding.summary


def test_a_need_beyond_the_search_is_a_bound_not_a_number():
    row = {"threshold": "effect weak", "value": 0.02, "alpha": 0.008, "power": 0.8, "n": 40.0}
    grid = decide_finding(decided(), [{**row, "n_approximate": float("nan")}]).grids[1]
    assert [cell.text for cell in grid.rows[0]][-2:] == ["40", "more than 2,000"]
