//! AWS Query parameters. What a handler does not take is refused in the end: a parameter the double
//! would ignore is one the caller believes in.

use std::collections::BTreeMap;

use crate::error::ApiError;

/// The parameters of one call, or of one structure inside it. Reading takes them out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    path: String,
    left: BTreeMap<String, String>,
}

impl Form {
    /// Decodes `application/x-www-form-urlencoded`.
    pub(crate) fn decode(body: &[u8]) -> Self {
        let left = form_urlencoded::parse(body).into_owned().collect();
        Self { path: String::new(), left }
    }

    /// The parameters that are left, by their full names.
    pub(crate) fn entries(&self) -> &BTreeMap<String, String> {
        &self.left
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.left.remove(key)
    }

    pub(crate) fn required(&mut self, key: &str) -> Result<String, ApiError> {
        self.text(key).filter(|v| !v.is_empty()).ok_or_else(|| {
            ApiError::validation(format!(
                "1 validation error detected: Value null at '{}{key}' failed to satisfy constraint: Member must not be null",
                self.path
            ))
        })
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<u32>, ApiError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.malformed(key, &text, "a whole number"))
    }

    pub(crate) fn required_number(&mut self, key: &str) -> Result<u32, ApiError> {
        let text = self.required(key)?;
        text.parse().map_err(|_| self.malformed(key, &text, "a whole number"))
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.text(key).as_deref() {
            None => Ok(None),
            Some("true" | "True" | "TRUE") => Ok(Some(true)),
            Some("false" | "False" | "FALSE") => Ok(Some(false)),
            Some(other) => Err(self.malformed(key, other, "true or false")),
        }
    }

    pub(crate) fn required_flag(&mut self, key: &str) -> Result<bool, ApiError> {
        let text = self.required(key)?;
        self.put(key, text);
        self.flag(key).map(Option::unwrap_or_default)
    }

    /// Puts a parameter back for another reader.
    pub(crate) fn put(&mut self, key: &str, value: String) {
        self.left.insert(key.to_owned(), value);
    }

    /// `key.member.1`, `key.member.2`, … as texts.
    pub(crate) fn list(&mut self, key: &str) -> Vec<String> {
        self.members(key).into_iter().filter_map(|mut member| member.text("")).collect()
    }

    /// `key.member.1.…`, `key.member.2.…`, … as structures.
    pub(crate) fn members(&mut self, key: &str) -> Vec<Form> {
        // An empty list is sent as an empty value under the bare name.
        self.left.remove(key);
        self.numbered(&format!("{key}.member"))
    }

    /// `key.1.…`, `key.2.…`, … as structures: EC2's way to write lists.
    pub(crate) fn numbered(&mut self, key: &str) -> Vec<Form> {
        let prefix = format!("{key}.");
        let mut found: BTreeMap<u32, Form> = BTreeMap::new();
        let names: Vec<String> =
            self.left.keys().filter(|k| k.starts_with(&prefix)).cloned().collect();
        for name in names {
            let rest = &name[prefix.len()..];
            let (index, field) = rest.split_once('.').unwrap_or((rest, ""));
            let Ok(index) = index.parse::<u32>() else { continue };
            let Some(value) = self.left.remove(&name) else { continue };
            let member = found.entry(index).or_insert_with(|| Form {
                path: format!("{}{prefix}{index}.", self.path),
                left: BTreeMap::new(),
            });
            member.left.insert(field.to_owned(), value);
        }
        found.into_values().collect()
    }

    /// `key.…` as a structure, when there is one.
    pub(crate) fn structure(&mut self, key: &str) -> Option<Form> {
        let prefix = format!("{key}.");
        let names: Vec<String> =
            self.left.keys().filter(|k| k.starts_with(&prefix)).cloned().collect();
        if names.is_empty() {
            return None;
        }
        let left = names
            .into_iter()
            .filter_map(|name| self.left.remove_entry(&name))
            .map(|(name, value)| (name[prefix.len()..].to_owned(), value))
            .collect();
        Some(Form { path: format!("{}{prefix}", self.path), left })
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(&self) -> Result<(), ApiError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::validation(format!(
                "The double does not model the parameter {}{name}",
                self.path
            ))),
        }
    }

    fn malformed(&self, key: &str, value: &str, expected: &str) -> ApiError {
        ApiError::new(
            "MalformedInput",
            format!("{}{key} must be {expected}, not '{value}'", self.path),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn lists_structures_and_leftovers() {
        let mut form = Form::decode(
            b"Names.member.2=b&Names.member.1=a&Filters.member.1.Name=tag%3Ax&Filters.member.1.Values.member.1=y&\
              LaunchTemplate.Version=3&Empty=&Strange=1",
        );
        assert_eq!(form.list("Names"), ["a", "b"]);
        let mut filters = form.members("Filters");
        assert_eq!(filters[0].text("Name").as_deref(), Some("tag:x"));
        assert_eq!(filters[0].list("Values"), ["y"]);
        filters[0].finish().expect("nothing left");
        let mut template = form.structure("LaunchTemplate").expect("present");
        assert_eq!(template.number("Version"), Ok(Some(3)));
        assert!(form.list("Empty").is_empty());
        let error = form.finish().expect_err("Strange is left");
        assert_eq!(error.message, "The double does not model the parameter Strange");
    }

    #[test]
    fn bad_values_name_the_field() {
        let mut form = Form::decode(b"DesiredCapacity=-1&HonorCooldown=maybe&Min=");
        let error = form.number("DesiredCapacity").expect_err("negative");
        assert_eq!(error.message, "DesiredCapacity must be a whole number, not '-1'");
        assert!(form.flag("HonorCooldown").is_err());
        let error = form.required("Min").expect_err("empty");
        assert!(error.message.contains("'Min'"), "{error}");
    }
}
