//! What a variable of a process's environment says.

/// Whether a variable that is set says nothing: empty and blank count as not set, because compose,
/// systemd and CloudFormation all write an empty value for "not set".
#[must_use]
pub fn is_empty(value: &str) -> bool {
    value.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::is_empty;

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        assert!(is_empty("") && is_empty(" \t\n"));
        assert!(!is_empty(" v1\n") && !is_empty("0"));
    }
}
