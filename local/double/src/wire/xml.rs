//! Writing XML, which is all the Query protocol needs.

use std::fmt::Display;

/// A document being written.
#[derive(Debug, Default, Clone)]
pub(crate) struct Xml(String);

impl Xml {
    /// `<name>value</name>`, escaped.
    pub(crate) fn text(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.0.push_str(&format!("<{name}>{}</{name}>", escape(&value.to_string())));
        self
    }

    /// [`Xml::text`] when there is a value.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// `<name>…</name>` around what `inside` writes.
    pub(crate) fn node(&mut self, name: &str, inside: impl FnOnce(&mut Self)) -> &mut Self {
        self.0.push_str(&format!("<{name}>"));
        inside(self);
        self.0.push_str(&format!("</{name}>"));
        self
    }

    /// `<name><member>…</member>…</name>`.
    pub(crate) fn members<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(&mut Self, T),
    ) -> &mut Self {
        self.node(name, |x| {
            for item in items {
                x.node("member", |x| each(x, item));
            }
        })
    }

    /// `<name><member>text</member>…</name>`.
    pub(crate) fn texts<T: Display>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        self.node(name, |x| {
            for item in items {
                x.text("member", item);
            }
        })
    }

    /// `<name><item>…</item>…</name>`: EC2's way to write lists.
    pub(crate) fn items<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(&mut Self, T),
    ) -> &mut Self {
        self.node(name, |x| {
            for item in items {
                x.node("item", |x| each(x, item));
            }
        })
    }

    /// The answer of an action of EC2, which has its own envelope.
    pub(crate) fn ec2_answer(self, action: &str, namespace: &str, request_id: &str) -> String {
        format!(
            "<{action}Response xmlns=\"{namespace}\"><requestId>{request_id}</requestId>{}</{action}Response>",
            self.0
        )
    }

    /// The answer of an action: this document is its result.
    pub(crate) fn answer(self, action: &str, namespace: &str, request_id: &str) -> String {
        format!(
            "<{action}Response xmlns=\"{namespace}\"><{action}Result>{}</{action}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>",
            self.0
        )
    }
}

/// A refused call.
pub(crate) fn error(
    namespace: &str,
    status: u16,
    code: &str,
    message: &str,
    request_id: &str,
) -> String {
    let blame = if status < 500 { "Sender" } else { "Receiver" };
    let mut x = Xml::default();
    x.node("Error", |x| {
        x.text("Type", blame).text("Code", code).text("Message", message);
    });
    format!(
        "<ErrorResponse xmlns=\"{namespace}\">{}<RequestId>{request_id}</RequestId></ErrorResponse>",
        x.0
    )
}

/// A call that EC2 refused.
pub(crate) fn ec2_error(code: &str, message: &str, request_id: &str) -> String {
    let mut x = Xml::default();
    x.node("Error", |x| {
        x.text("Code", code).text("Message", message);
    });
    format!("<Response><Errors>{}</Errors><RequestID>{request_id}</RequestID></Response>", x.0)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Line ends would be normalised away by the reader.
            '\r' => out.push_str("&#13;"),
            // XML 1.0 has no way to write the other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Xml;

    #[test]
    fn text_is_escaped_and_lists_are_members() {
        let mut x = Xml::default();
        x.text("Value", "a<b>&\"c\"").texts("Zones", ["z1", "z2"]).maybe("Absent", None::<u8>);
        assert_eq!(
            x.answer("Do", "urn:x", "id"),
            "<DoResponse xmlns=\"urn:x\"><DoResult><Value>a&lt;b&gt;&amp;&quot;c&quot;</Value><Zones><member>z1</member><member>z2</member></Zones></DoResult><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></DoResponse>"
        );
    }
}
