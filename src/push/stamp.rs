//! Values that a build stamps its outputs with, as Bazel's workspace status has them.

use std::collections::BTreeMap;

use crate::text::named;

/// The build's status: values by name.
#[derive(Clone, Debug, Default)]
pub struct BuildStatus {
    values: BTreeMap<String, String>,
}

/// Why a text cannot be filled in.
#[derive(Debug, thiserror::Error)]
pub enum StampError {
    /// A name that the status lacks.
    #[error(
        "{text:?} needs the value {name}, which the build's status does not have; it has {known}"
    )]
    Unknown {
        /// The text.
        text: String,
        /// The name.
        name: String,
        /// The names that there are, in words.
        known: String,
    },
    /// A value without a character.
    #[error("{text:?} needs the value {name}, which is empty in the build's status")]
    Empty {
        /// The text.
        text: String,
        /// The name.
        name: String,
    },
    /// A brace without its fellow.
    #[error("{0:?} has a brace without its fellow: {{NAME}} is wanted")]
    Brace(String),
}

impl BuildStatus {
    /// Adds the lines of a status file, each a name, a space and a value.
    pub fn add(&mut self, text: &str) {
        let lines = text.lines().filter(|line| !line.is_empty());
        self.values.extend(lines.map(|line| {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            (name.to_owned(), value.trim().to_owned())
        }));
    }

    /// Replaces each `{NAME}` in `text` by its value.
    pub fn fill(&self, text: &str) -> Result<String, StampError> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((name, after)) = behind.split_once('}') else {
                return Err(StampError::Brace(text.to_owned()));
            };
            filled += before;
            filled += self.value(text, name)?;
            rest = after;
        }
        if rest.contains('}') {
            return Err(StampError::Brace(text.to_owned()));
        }
        Ok(filled + rest)
    }

    fn value(&self, text: &str, name: &str) -> Result<&str, StampError> {
        match self.values.get(name) {
            Some(value) if !value.is_empty() => Ok(value),
            Some(_) => Err(StampError::Empty {
                text: text.to_owned(),
                name: name.to_owned(),
            }),
            None => Err(StampError::Unknown {
                text: text.to_owned(),
                name: name.to_owned(),
                known: if self.values.is_empty() {
                    "nothing".to_owned()
                } else {
                    named(self.values.keys())
                },
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_values() {
        let mut status = BuildStatus::default();
        status.add("BUILD_EMBED_LABEL \nSTABLE_VERSION v1.2 \nA b c\n");
        status.add("BUILD_TIMESTAMP 17\n");
        let fill = |text| status.fill(text).map_err(|error| error.to_string());
        assert_eq!(fill("latest").as_deref(), Ok("latest"));
        assert_eq!(
            fill("{STABLE_VERSION}-{BUILD_TIMESTAMP}").as_deref(),
            Ok("v1.2-17")
        );
        assert_eq!(fill("x{A}").as_deref(), Ok("xb c"));
        for (text, expected) in [
            ("{BUILD_EMBED_LABEL}", "is empty in the build's status"),
            ("{STABLE}", "it has A, BUILD_EMBED_LABEL"),
            ("{A", "brace"),
            ("A}", "brace"),
        ] {
            let error = fill(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
