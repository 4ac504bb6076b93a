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


def test_links_to_files_are_found_and_others_are_not():
    text = "[a](b.md#part) [c](https://x) [d](#e)\n```\n[f](g.md)\n```\n[h]: ../i.md\n"
    assert documents.links(text) == ["b.md", "../i.md"]


LONG = "a word and " * 10


def wide(suffix: str, *lines: str) -> list[int]:
    return [int(line.split()[1]) for line in documents.too_wide(suffix, "\n".join(lines))]


def test_a_line_is_wider_by_the_text_of_a_string_only():
    assert wide(".rs", f'    say("{LONG}");', f"    // {LONG}", f"    call({'x, ' * 40});") == [
        2,
        3,
    ]
    assert wide(".rs", 'let a = "', LONG, f'"; {"b(); " * 30}', f'let c = r#"{LONG} " "#;') == [3]
    assert wide(".rs", f"    /// {LONG}", f"    //! | {LONG} |", f'let d = 1; // "{LONG}"') == [
        1,
        3,
    ]
    assert wide(".sh", f'echo "{LONG}"', f"# {LONG}", f"run {LONG}") == [2, 3]
    assert wide(".toml", f'reason = "{LONG}"', f"# {LONG}", f"list = [{'1, ' * 40}]") == [2, 3]


def test_comments_are_checked_where_something_else_holds_the_code():
    assert wide(".yaml", f"Description: {LONG}", f"  # {LONG}") == [2]
    assert wide(".js", f"say(`{LONG}`);", f"  // {LONG}", f" * {LONG}") == [2, 3]
    assert wide(".sql", f"SELECT {LONG}", f"-- {LONG}") == [2]


def test_prose_is_wrapped_and_tables_and_examples_are_not():
    text = [LONG, f"- {LONG}", f"| {LONG} |", "```", LONG, "```", f"# {LONG}", f"- <{'x' * 120}>"]
    assert wide(".md", *text) == [1, 2, 7]


STD, OTHER, OWN = "use std::fs;", "use serde::Serialize;", "use crate::a::B;"


def test_a_type_name_with_two_meanings_is_found_out():
    once = {"a/src/x.rs": "pub struct Plan;\nenum Other {}\n", "b/src/y.rs": "enum Other {}\n"}
    assert documents.several_meanings(once) == []
    twice = once | {"c/src/z.rs": "pub(super) type Plan = u8;\n"}
    assert documents.several_meanings(twice) == ["Plan: a/src/x.rs, c/src/z.rs"]
    inside = once | {"d/src/w.rs": "mod tests {\n    struct Plan;\n}\n// struct Plan\n"}
    assert documents.several_meanings(inside) == []


def test_a_public_function_that_can_fail_and_does_not_say_when_is_found_out():
    says = "/// Reads.\n///\n/// # Errors\n/// When it cannot.\n#[inline]\n"
    signatures = (
        "pub fn read(text: &str) -> Result<u8, String> {",
        "pub async fn read(of: (u8, [u8; 2]), then: impl Fn(&str) -> bool) -> io::Result<()> {",
        "pub const fn read<T>(\n    at: T,\n) -> Result<T, ()>\nwhere\n    T: Copy,\n{",
    )
    for signature in signatures:
        assert documents.without_errors(f"{says}{signature}\n}}\n") == []
        assert documents.without_errors(f"/// Reads.\n{signature}\n}}\n") == [
            "line 2: read has no # Errors"
        ]
    for other in (
        "pub fn is(it: &Result<u8, ()>) -> bool {",
        "pub fn run(then: fn() -> Result<u8, ()>) {",
        "pub(crate) fn read() -> Result<u8, ()> {",
        "fn read() -> Result<u8, ()> {",
        "#[cfg(test)]\nmod tests {\n    pub fn read() -> Result<u8, ()> {",
    ):
        assert documents.without_errors(f"{other}\n}}\n") == [], other


def test_imports_are_one_block_or_three_in_their_order():
    assert documents.imports(f"mod a;\n\n{OWN}\n{OTHER}\n{STD}\n\nfn f() {{}}\n") == []
    assert documents.imports(f"//! Doc.\n\n{STD}\n\n{OTHER}\n\n{OWN}\n\nfn f() {{}}\n") == []
    assert documents.imports(f"{STD}\n\npub use a::C;\n\n{OWN}\n") == []
    mixed = ["a block of imports mixes standard library, other crates and own modules"]
    assert documents.imports(f"{STD}\n\n{OWN}\n{OTHER}\n") == mixed
    order = ["blocks of imports are out of order"]
    assert documents.imports(f"{OTHER}\n\n{STD}\n") == order
    assert documents.imports(f"{STD}\n\n{OWN}\n\n{OWN}\n") == order
