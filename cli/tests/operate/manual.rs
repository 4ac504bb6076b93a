use crate::support::{ghfleet, home, run};
use std::fs;
use std::process::Command;

fn printed(arguments: &[&str]) -> String {
    let output = ghfleet(arguments).output().expect("the binary");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What bash offers for the last of these words.
fn offered(script: &str, words: &str) -> String {
    let ask = "COMP_WORDS=($WORDS); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _ghfleet ghfleet \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    let bash = bash.args(["--norc", "-ec", &format!("{script}\n{ask}")]).env("WORDS", words);
    let output = bash.output().expect("bash");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[test]
fn bash_loads_its_completions_and_offers_commands_and_options() {
    let script = printed(&["completions", "bash"]);
    assert_eq!(offered(&script, "ghfleet sta"), "status");
    assert_eq!(offered(&script, "ghfleet ro"), "rollback rollouts");
    assert_eq!(offered(&script, "ghfleet scale --no"), "--no-floor --no-pause");
    assert_eq!(offered(&script, "ghfleet completions z"), "zsh");
}

#[test]
fn zsh_and_fish_have_theirs() {
    assert!(printed(&["completions", "zsh"]).starts_with("#compdef ghfleet\n"));
    let fish = printed(&["completions", "fish"]);
    assert!(fish.contains("complete -c ghfleet") && fish.contains("refresh-secrets"));
    assert_eq!(run(&mut ghfleet(&["completions", "csh"])).code, 64);
}

#[test]
fn every_command_has_its_page() {
    assert!(printed(&["man"]).contains(".TH ghfleet 1 "));
    let folder = home();
    let ran = run(&mut ghfleet(&["man", "--dir", folder.to_str().unwrap()]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    for page in ["ghfleet", "ghfleet-status", "ghfleet-refresh-secrets", "ghfleet-man"] {
        let text = fs::read_to_string(folder.join(format!("{page}.1"))).unwrap();
        assert!(text.contains(&format!(".TH {page} 1 ")), "{page}");
    }
    let ran = run(&mut ghfleet(&["man", "--dir", "/none/at/all"]));
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("--dir /none/at/all cannot be written ("), "{}", ran.err);
}
