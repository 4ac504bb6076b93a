//! The name of an environment, such as `staging`: part of a secret's name, of parameters and of the
//! stack's own resources.

/// The rule as a regular expression, which both templates have for their parameter `Environment`.
pub const PATTERN: &str = "[a-z0-9-]{1,32}";

/// What is wrong with a name, for a message that begins with the name itself.
pub const RULE: &str = "Use 1 to 32 lower-case letters, digits and hyphens, such as production";

/// Whether this can name an environment. The template's parameter has the same rule.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::{PATTERN, is_name};
    use proptest::prelude::*;
    use regex_lite::Regex;

    #[test]
    fn both_templates_take_the_same_names() {
        for template in
            [include_str!("../../../template.yaml"), include_str!("../../../fleet.yaml")]
        {
            assert_eq!(template.matches(&format!("AllowedPattern: ^{PATTERN}$\n")).count(), 1);
        }
    }

    proptest! {
        #[test]
        fn the_pattern_and_the_rule_have_one_verdict_on_any_text(
            text in prop_oneof!["[a-zA-Z0-9_./ -]{0,6}", "[a-z0-9-]{28,36}", any::<String>()]
        ) {
            let pattern = Regex::new(&format!(r"^(?:{PATTERN})\z")).unwrap();
            prop_assert_eq!(pattern.is_match(&text), is_name(&text));
        }
    }

    #[test]
    fn one_rule_for_every_place_that_the_name_ends_up_in() {
        for good in ["staging", "production", "qa-2", &"a".repeat(32)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "Production", "qa_2", "a.b", "../x", "a b", &"a".repeat(33)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
