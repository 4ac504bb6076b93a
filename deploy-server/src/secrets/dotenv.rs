//! The environment file: one quoting that systemd and compose read back alike.
//!
//! `NAME="value"`, with a backslash before `\`, `"` and `$` and everything else as it is, newlines
//! included. Inside double quotes both systemd's `EnvironmentFile=` and compose v2's `env_file`
//! remove exactly these backslashes; no other form survives both (single quotes have no escape in
//! systemd, and compose expands an unescaped `$`). Control characters other than tab and newline
//! have no common form: systemd drops the whole variable. It is not a shell script: a shell would
//! run what stands between backquotes.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

/// A variable that cannot be written, by name; never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// The name is not a variable name.
    #[error(
        "key {0:?} is not a variable name: use letters, digits and _, and no digit in front; rename it in the secret"
    )]
    Name(String),
    /// The value holds a character that systemd or compose would not read back.
    #[error(
        "the value of {key} holds the control character U+{code:04X} at character {position}, which an environment file cannot carry: encode the value (base64, or \\n line ends for \\r\\n) in the secret"
    )]
    Control {
        /// The variable.
        key: String,
        /// The character's code point.
        code: u32,
        /// Its position, counted in characters from 1.
        position: usize,
    },
}

/// Whether `name` is a variable name that systemd, compose and shells accept.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Appends `NAME="value"` and a newline to `out`.
///
/// # Errors
/// [`Unwritable`] where the name or the value has no form that every reader understands.
pub fn write(out: &mut String, name: &str, value: &str) -> Result<(), Unwritable> {
    if !is_name(name) {
        return Err(Unwritable::Name(name.to_owned()));
    }
    let control = |c: char| c.is_control() && c != '\t' && c != '\n';
    if let Some((index, c)) = value.chars().enumerate().find(|(_, c)| control(*c)) {
        return Err(Unwritable::Control {
            key: name.to_owned(),
            code: u32::from(c),
            position: index + 1,
        });
    }
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        if matches!(c, '\\' | '"' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push_str("\"\n");
    Ok(())
}

/// Every variable of an environment file, the last of a name winning, by systemd's rules: comments,
/// continued lines, both quotes, quoted pieces side by side. A line without a variable name is left
/// out, as systemd does.
#[must_use]
pub fn parse(text: &str) -> BTreeMap<String, SecretString> {
    let mut variables = BTreeMap::new();
    let mut rest = text.chars().peekable();
    while let Some(&c) = rest.peek() {
        match c {
            '#' | ';' => comment(&mut rest),
            c if c.is_whitespace() => {
                rest.next();
            }
            _ => {
                let Some(name) = name(&mut rest) else {
                    continue;
                };
                let value = value(&mut rest);
                if is_name(&name) {
                    variables.insert(name, SecretString::from(value));
                }
            }
        }
    }
    variables
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn comment(rest: &mut Chars<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\n' => return,
            // systemd continues a comment over an escaped line end.
            '\\' => {
                rest.next();
            }
            _ => {}
        }
    }
}

/// The text before `=`, trimmed; `None` where the line ends first.
fn name(rest: &mut Chars<'_>) -> Option<String> {
    let mut name = String::new();
    for c in rest.by_ref() {
        match c {
            '=' => return Some(name.trim().to_owned()),
            '\n' => return None,
            c => name.push(c),
        }
    }
    None
}

fn value(rest: &mut Chars<'_>) -> String {
    let mut value = String::new();
    // Trailing blanks of an unquoted piece are dropped, those inside quotes are kept.
    let mut keep = 0;
    let mut bare = false;
    while let Some(c) = rest.next() {
        match c {
            '\n' => break,
            '\'' if !bare => {
                value.truncate(keep);
                value.extend(rest.by_ref().take_while(|c| *c != '\''));
                keep = value.len();
            }
            '"' if !bare => {
                value.truncate(keep);
                double_quoted(rest, &mut value);
                keep = value.len();
            }
            '\\' => match rest.next() {
                Some('\n') | None => {}
                Some(c) => {
                    value.push(c);
                    keep = value.len();
                    bare = true;
                }
            },
            c if c.is_whitespace() => {
                if keep > 0 || bare {
                    value.push(c);
                }
            }
            c => {
                value.push(c);
                keep = value.len();
                bare = true;
            }
        }
    }
    value.truncate(keep);
    value
}

fn double_quoted(rest: &mut Chars<'_>, value: &mut String) {
    while let Some(c) = rest.next() {
        match c {
            '"' => return,
            '\\' => match rest.next() {
                Some(c @ ('"' | '\\' | '`' | '$')) => value.push(c),
                Some('\n') | None => {}
                Some(c) => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
}

/// The whole file: a heading, then every variable in the order of its name.
///
/// # Errors
/// [`Unwritable`] for the first variable that cannot be written; nothing of the file is returned
/// then.
pub fn render(
    heading: &str,
    variables: &BTreeMap<String, SecretString>,
) -> Result<SecretString, Unwritable> {
    let mut out = String::new();
    for line in heading.lines() {
        out.push_str("# ");
        out.push_str(line);
        out.push('\n');
    }
    for (name, value) in variables {
        write(&mut out, name, value.expose_secret())?;
    }
    Ok(SecretString::from(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, name: &str) -> Option<String> {
        parse(text).get(name).map(|value| value.expose_secret().to_owned())
    }

    #[test]
    fn reads_what_the_old_scripts_wrote() {
        let old = "# head\nDATABASE_URL=\"postgres://u:p@h/db?a=\\\"b\\\"\"\nGH_WORKER_ID=i-0abc\nEC2_IP=1.2.3.4  \n; c\nX='a b'\"c\"\nbroken line\nY=\n";
        assert_eq!(read(old, "DATABASE_URL").as_deref(), Some("postgres://u:p@h/db?a=\"b\""));
        assert_eq!(read(old, "GH_WORKER_ID").as_deref(), Some("i-0abc"));
        assert_eq!(read(old, "EC2_IP").as_deref(), Some("1.2.3.4"));
        assert_eq!(read(old, "X").as_deref(), Some("a bc"));
        assert_eq!(read(old, "Y").as_deref(), Some(""));
        assert_eq!(parse(old).len(), 5);
    }

    #[test]
    fn refuses_by_name_and_says_what_to_do() {
        let mut out = String::new();
        assert_eq!(write(&mut out, "1A", "v"), Err(Unwritable::Name("1A".to_owned())));
        let error = write(&mut out, "KEY", "geheim\r\n").expect_err("a carriage return");
        assert!(error.to_string().contains("KEY") && error.to_string().contains("U+000D"));
        assert!(!error.to_string().contains("geheim"));
        assert_eq!(out, "");
    }

    proptest! {
        #[test]
        fn every_writable_value_comes_back(values in proptest::collection::vec("[^\\p{Cc}]*|[\\\\\"$'`#;= \t\n{}a]*", 1..8)) {
            let variables: BTreeMap<String, SecretString> = values.iter().enumerate()
                .map(|(i, v)| (format!("K{i}"), SecretString::from(v.clone()))).collect();
            let text = render("head\nline", &variables).expect("writable");
            let back = parse(text.expose_secret());
            prop_assert_eq!(back.len(), values.len());
            for (name, value) in &variables {
                prop_assert_eq!(back[name].expose_secret(), value.expose_secret());
            }
        }

        #[test]
        fn rubbish_never_panics(text in "\\PC*|[=\"'\\\\\n #A]*") {
            let _variables = parse(&text);
        }
    }
}
