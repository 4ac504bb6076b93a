"""The checks of the documents find what they are there to find."""

import documents

TESTS = {"core/rules::a", "core::hold::tests", "core::hold::tests::b", "page/test_page.py::test_c"}


def guarantees(*rows: str) -> list[str]:
    table = "\n".join(["| Guarantee | Test |", "|---|---|", *rows])
    return documents.guarantees(f"# Semantics\n\n{table}\n", TESTS)[1]


def test_whole_names_of_tests_and_modules_are_found():
    assert (
        guarantees(
            "| x | `core/rules::a`<br>`core::hold::tests` |", "| y | `page/test_page.py::test_c` |"
        )
        == []
    )


def test_a_made_up_path_that_ends_like_a_test_is_found_out():
    # Its last part exists: what counts is the whole path.
    assert guarantees("| x | `rollout::rules::a` |") == [
        "line 5: no test has this whole name: rollout::rules::a"
    ]
    assert guarantees("| x | `rules::a` |") == ["line 5: no test has this whole name: rules::a"]
    assert guarantees("| x | `core::hold::tests::a` |") == [
        "line 5: no test has this whole name: core::hold::tests::a"
    ]


def test_a_test_that_was_renamed_is_found_out():
    assert guarantees("| x | `core/rules::a`, `core/rules::a_renamed` |") == [
        "line 5: no test has this whole name: core/rules::a_renamed"
    ]


def test_a_guarantee_without_a_test_is_found_out():
    assert guarantees("| x | `core/rules::a` |", "| y | |") == ["line 6: no test holds: y"]
    assert guarantees("| x | by hand |") == ["line 5: no test holds: x"]


def test_a_name_in_prose_or_in_another_table_is_checked_too():
    text = (
        "As `core/rules::gone` shows.\n\n| # | Decision |\n|---|---|\n| 1 | `core/rules::lost` |\n"
    )
    assert documents.guarantees(text, TESTS) == (
        2,
        [
            "line 1: no test has this whole name: core/rules::gone",
            "line 5: no test has this whole name: core/rules::lost",
        ],
    )
