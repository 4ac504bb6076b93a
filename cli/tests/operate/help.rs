use crate::support::{ghfleet, run};

const COMMANDS: [&str; 22] = [
    "status",
    "explain",
    "scale",
    "deploy",
    "rollback",
    "rollouts",
    "cancel",
    "pause",
    "continue",
    "drain",
    "cleanup",
    "refresh-secrets",
    "cost",
    "doctor",
    "job",
    "machine",
    "shell",
    "simulate",
    "tune",
    "replay",
    "completions",
    "man",
];

#[test]
fn help_of_every_command_teaches_by_examples_within_the_line() {
    let all = run(&mut ghfleet(&["--help"]));
    assert_eq!(all.code, 0);
    let mut text = all.out.clone();
    for command in COMMANDS {
        assert!(all.out.contains(&format!("\n  {command} ")), "{command} is listed");
        let help = run(&mut ghfleet(&[command, "--help"]));
        assert_eq!(help.code, 0, "{command}");
        let examples = help.out.split("Examples:\n").nth(1).unwrap_or_default();
        assert!(examples.contains(&format!("  ghfleet {command}")), "{command}: {}", help.out);
        text += &format!("\n=== {command}\n{}", help.out);
    }
    let listed = all.out.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    assert_eq!(listed.count(), COMMANDS.len() + 1, "and help: {}", all.out);
    insta::assert_snapshot!(text);
}

#[test]
fn wrong_usage_has_its_own_code() {
    for wrong in [&["scal"][..], &["status", "--interval", "5"], &["status", "--token", "x"], &[]] {
        let ran = run(&mut ghfleet(wrong));
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{wrong:?}");
    }
}
