//! The text that Prometheus reads, in the format's version 0.0.4, as hosts and control plane write
//! it. `docs/METRICS.md` lists every metric of both.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{self, Write};

/// What the text is, for the header `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics as text. What is unknown is left out: a sample that is missing says that nobody knows,
/// and 0 would be a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposition {
    text: String,
}

/// One value of a metric, by its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    labels: Vec<(&'static str, &'a str)>,
    value: f64,
}

impl<'a> Sample<'a> {
    /// A value, in the base unit that the metric's name ends with.
    #[must_use]
    pub fn new(labels: &[(&'static str, &'a str)], value: f64) -> Sample<'a> {
        Sample { labels: labels.to_vec(), value }
    }
}

impl Exposition {
    /// A metric that goes up and down. Without samples nothing of it is written.
    pub fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        self.family(name, "gauge", help, samples);
    }

    /// A gauge with one value and no labels, where it is known.
    pub fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.gauges(name, help, value.map(|value| Sample::new(&[], value)));
    }

    /// A metric that only goes up, until what counts it begins anew. Its name ends with `_total`.
    pub fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        self.family(name, "counter", help, samples);
    }

    /// What is in one of several states: 1 for the one that it is in, 0 for the others, and nothing
    /// where that is unknown.
    pub fn state(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        states: &[&str],
        is: Option<&str>,
    ) {
        let Some(is) = is else { return };
        let samples =
            states.iter().map(|state| Sample::new(&[(label, *state)], flag(*state == is)));
        self.gauges(name, help, samples);
    }

    /// Facts that are words: they are the labels of a sample that is always 1.
    pub fn info(&mut self, name: &str, help: &str, labels: &[(&'static str, &str)]) {
        self.gauges(name, help, [Sample::new(labels, 1.0)]);
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn family<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let help = Escaped { text: help, quotes: false };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        for Sample { labels, value } in samples {
            self.line(format_args!("{name}{} {value}", Labels(&labels)));
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes whatever is written");
    }
}

/// Yes is 1, and no is 0.
#[must_use]
pub fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// A number as Prometheus keeps it, exact up to 2^53.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub fn number(whole: u64) -> f64 {
    whole as f64
}

/// Seconds of milliseconds.
#[must_use]
pub fn seconds(millis: u64) -> f64 {
    number(millis) / 1000.0
}

/// `{name="value",…}`, or nothing.
struct Labels<'a>(&'a [(&'static str, &'a str)]);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = '{';
        for (name, value) in self.0 {
            write!(f, "{before}{name}=\"{}\"", Escaped { text: value, quotes: true })?;
            before = ',';
        }
        if self.0.is_empty() { Ok(()) } else { f.write_char('}') }
    }
}

/// Backslashes and line ends as two characters each; in the value of a label quotes too.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.text.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_metric_is_its_help_its_type_and_its_samples() {
        let mut page = Exposition::default();
        page.gauge("a_seconds", "How long.", Some(seconds(1_250)));
        page.counters("b_total", "How many.", [Sample::new(&[("x", "1"), ("y", "2")], number(7))]);
        page.info("c_info", "What.", &[("version", "1.0")]);
        assert_eq!(
            page.into_text(),
            "# HELP a_seconds How long.\n# TYPE a_seconds gauge\na_seconds 1.25\n\
             # HELP b_total How many.\n# TYPE b_total counter\nb_total{x=\"1\",y=\"2\"} 7\n\
             # HELP c_info What.\n# TYPE c_info gauge\nc_info{version=\"1.0\"} 1\n"
        );
    }

    #[test]
    fn what_is_unknown_is_not_there_at_all() {
        let mut page = Exposition::default();
        page.gauge("a", "A.", None);
        page.gauges("b", "B.", []);
        page.state("c", "C.", "state", &["on", "off"], None);
        assert_eq!(page, Exposition::default());
    }

    #[test]
    fn one_of_the_states_is_1_and_the_others_are_0() {
        let mut page = Exposition::default();
        page.state("a", "A.", "state", &["on", "off"], Some("off"));
        let text = page.into_text();
        assert!(text.ends_with("gauge\na{state=\"on\"} 0\na{state=\"off\"} 1\n"), "{text}");
    }

    #[test]
    fn labels_and_help_are_escaped_as_the_format_says() {
        let mut page = Exposition::default();
        page.gauges("a", "a \\ \"b\"\nc", [Sample::new(&[("l", "a \\ \"b\"\nc")], 0.5)]);
        let text = page.into_text();
        assert_eq!(
            text,
            "# HELP a a \\\\ \"b\"\\nc\n# TYPE a gauge\na{l=\"a \\\\ \\\"b\\\"\\nc\"} 0.5\n"
        );
    }

    #[test]
    fn large_numbers_are_written_out() {
        let mut page = Exposition::default();
        page.gauge("a_bytes", "A.", Some(number(1 << 50)));
        assert!(page.into_text().ends_with("a_bytes 1125899906842624\n"));
    }

    proptest! {
        #[test]
        fn no_label_can_end_its_line_or_its_quotes(value in any::<String>()) {
            let mut page = Exposition::default();
            page.gauges("a", "A.", [Sample::new(&[("l", &value)], 1.0)]);
            let text = page.into_text();
            let line = text.strip_prefix("# HELP a A.\n# TYPE a gauge\na{l=\"").unwrap();
            let mut read = String::new();
            let mut letters = line.chars();
            let rest = loop {
                match letters.next().unwrap() {
                    '"' => break letters.as_str(),
                    '\n' => panic!("{line}"),
                    '\\' => read.push(match letters.next().unwrap() { 'n' => '\n', other => other }),
                    letter => read.push(letter),
                }
            };
            prop_assert_eq!((read, rest), (value, "} 1\n"));
        }
    }
}
