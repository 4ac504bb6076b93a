"""The names that are read from the sources are those that `cargo test` and pytest would print."""

from pathlib import Path

import pytest
import test_names

LIB = """
//! #[test] fn in_a_comment() {}
mod outer;
fn no_test() { let _ = "#[test] fn in_a_string() {"; let _ = '{'; }
/// A lifetime is no character: &'a str.
pub fn f<'a>(x: &'a str) -> &'a str { x }
#[cfg(test)]
mod tests {
    use super::*;
    mod deeper {
        #[test]
        fn two() {}
    }
    #[test]
    #[should_panic]
    fn one() { let _ = r#"}} " fn raw() {"#; }
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn three() {}
    proptest! {
        #[test]
        fn four(x in 0..9) {}
    }
    fn helper() {}
}
"""


@pytest.fixture
def package(tmp_path: Path) -> dict:
    files = {
        "src/lib.rs": LIB,
        "src/outer.rs": '#[cfg(test)]\n#[path = "outer_tests.rs"]\nmod tests;\nmod inner;\n',
        "src/outer_tests.rs": "#[test]\nfn apart() {}\n",
        "src/outer/inner.rs": "#[test]\nfn nested() {}\n",
        "tests/suite/main.rs": "mod rules;\nmod support;\n",
        "tests/suite/rules.rs": "#[test]\nfn holds() {}\n",
        "tests/suite/support/mod.rs": '#[path = "../../common.rs"]\nmod common;\n',
        "tests/common.rs": "#[test]\nfn shared() {}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    targets = [("lib", "a_crate", "src/lib.rs"), ("test", "suite", "tests/suite/main.rs")]
    return {
        "name": "a-crate",
        "targets": [
            {"kind": [kind], "name": name, "src_path": str(tmp_path / path)}
            for kind, name, path in targets
        ],
    }


def test_rust_names_follow_the_modules(package: dict):
    assert test_names.rust_tests([package]) == {
        "a-crate::tests",
        "a-crate::tests::one",
        "a-crate::tests::three",
        "a-crate::tests::four",
        "a-crate::tests::deeper",
        "a-crate::tests::deeper::two",
        "a-crate::outer::tests",
        "a-crate::outer::tests::apart",
        "a-crate::outer::inner",
        "a-crate::outer::inner::nested",
        "a-crate/suite::rules",
        "a-crate/suite::rules::holds",
        "a-crate/suite::support::common",
        "a-crate/suite::support::common::shared",
    }


def test_python_names_start_at_their_folder(tmp_path: Path):
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "test_page.py").write_text(
        "def helper(): ...\nasync def test_a(): ...\ndef test_b(): ...\n"
    )
    (folder / "support.py").write_text("def test_not_collected(): ...\n")
    assert test_names.python_tests(tmp_path) == {
        "page/test_page.py::test_a",
        "page/test_page.py::test_b",
    }
