//! Names of the schema, the queue and the registry table, checked before they are put into a
//! statement.

/// A name that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    #[error(
        "schema {0:?} is not an identifier (a letter or _, then letters, digits or _; in double quotes to keep capitals)"
    )]
    Schema(String),
    #[error("queue {0:?} is not a pg-boss queue name (letters, digits, _ . - /)")]
    Queue(String),
    #[error("registry table {0:?} is not `table` or `schema.table`")]
    Registry(String),
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// pg-boss's schema, folded as Postgres would fold it.
    pub(super) schema: String,
    /// The general queue. `queue/<worker>` are the targeted ones.
    pub(super) queue: String,
    /// The registry's schema and table.
    pub(super) registry: (String, String),
}

impl Names {
    /// `schema`: pg-boss's, usually `pgboss`. `queue`: the general queue. `registry`:
    /// `gh_worker_registry`, in `public` unless qualified.
    ///
    /// # Errors
    /// Which name is none, and why.
    pub fn new(schema: &str, queue: &str, registry: &str) -> Result<Names, NameProblem> {
        let word = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
        if queue.is_empty() || !queue.chars().all(word) {
            return Err(NameProblem::Queue(queue.to_owned()));
        }
        let (registry_schema, table) = registry.split_once('.').unwrap_or(("public", registry));
        let registry_problem = || NameProblem::Registry(registry.to_owned());
        Ok(Names {
            schema: identifier(schema).ok_or_else(|| NameProblem::Schema(schema.to_owned()))?,
            queue: queue.to_owned(),
            registry: (
                identifier(registry_schema).ok_or_else(registry_problem)?,
                identifier(table).ok_or_else(registry_problem)?,
            ),
        })
    }

    /// `table` of pg-boss, quoted.
    pub(super) fn pgboss(&self, table: &str) -> String {
        format!("{}.{}", quote(&self.schema), quote(table))
    }

    /// The registry table, quoted.
    pub(super) fn registry(&self) -> String {
        format!("{}.{}", quote(&self.registry.0), quote(&self.registry.1))
    }

    /// What a targeted queue's name begins with.
    pub(super) fn target_prefix(&self) -> String {
        format!("{}/", self.queue)
    }

    /// The LIKE pattern of the targeted queues. A range of names (`>= 'q/' AND < 'q0'`) would be
    /// wrong wherever the collation ignores punctuation; from LIKE Postgres derives the index range
    /// itself where the collation allows it.
    pub(super) fn target_pattern(&self) -> String {
        let mut pattern = String::new();
        for c in self.target_prefix().chars() {
            if matches!(c, '\\' | '%' | '_') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern + "%"
    }
}

/// The identifier `text` stands for: folded, or verbatim in double quotes.
fn identifier(text: &str) -> Option<String> {
    if let Some(quoted) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        let valid = !quoted.is_empty() && !quoted.contains(['"', '\0']);
        return valid.then(|| quoted.to_owned());
    }
    let mut chars = text.chars();
    let first = chars.next()?;
    let valid = (first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    valid.then(|| text.to_ascii_lowercase())
}

fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(schema: &str, queue: &str, registry: &str) -> Result<Names, NameProblem> {
        Names::new(schema, queue, registry)
    }

    #[test]
    fn schemas_fold_as_postgres_folds_them() {
        let folded = names("MySchema", "q", "t").expect("an identifier");
        assert_eq!(folded.pgboss("job"), r#""myschema"."job""#);
        let verbatim = names(r#""MySchema""#, "q", r#"ops."T""#).expect("a quoted identifier");
        assert_eq!(verbatim.pgboss("job"), r#""MySchema"."job""#);
        assert_eq!(verbatim.registry(), r#""ops"."T""#);
        assert_eq!(folded.registry(), r#""public"."t""#);
    }

    #[test]
    fn wildcards_in_a_queue_name_stand_for_themselves() {
        let names = names("pgboss", "gh_apply_job", "t").expect("names");
        assert_eq!(names.target_pattern(), r"gh\_apply\_job/%");
    }

    #[test]
    fn names_that_would_leave_their_place_are_refused() {
        for schema in ["", "1a", "a b", "a;b", "a\"b", "\"\"", "\"a\"b\""] {
            assert_eq!(names(schema, "q", "t"), Err(NameProblem::Schema(schema.to_owned())));
        }
        for queue in ["", "a b", "a:b", "a'b", "a%"] {
            assert_eq!(names("s", queue, "t"), Err(NameProblem::Queue(queue.to_owned())));
        }
        for registry in ["", ".", "a.", "a.b.c", "a-b"] {
            assert_eq!(names("s", "q", registry), Err(NameProblem::Registry(registry.to_owned())));
        }
    }
}
