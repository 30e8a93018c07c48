//! What osv-scanner reads of a record (OSV schema 1.7, as it was in September 2026). One that has anything else it drops
//! without a word.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

use crate::oci::time::Time;

/// A value, which may be null as well.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Time,
    /// One of these texts.
    Word(&'static [&'static str]),
    List(&'static Shape),
    /// An object of these fields, each of which may be left out.
    Object(&'static [(&'static str, Shape)]),
    /// Any object.
    Any,
}

use Shape::{Any, List, Object, Text, Word};

const SEVERITIES: Shape = List(&Object(&[
    (
        "type",
        Word(&["UNSPECIFIED", "CVSS_V2", "CVSS_V3", "CVSS_V4", "Ubuntu"]),
    ),
    ("score", Text),
    (
        "source",
        Word(&["SOURCE_UNSPECIFIED", "NVD", "CNA", "SELF"]),
    ),
]));
const EVENTS: Shape = List(&Object(&[
    ("introduced", Text),
    ("fixed", Text),
    ("last_affected", Text),
    ("limit", Text),
]));
const AFFECTED: Shape = List(&Object(&[
    (
        "package",
        Object(&[("ecosystem", Text), ("name", Text), ("purl", Text)]),
    ),
    (
        "ranges",
        List(&Object(&[
            ("type", Word(&["UNSPECIFIED", "GIT", "SEMVER", "ECOSYSTEM"])),
            ("repo", Text),
            ("events", EVENTS),
            ("database_specific", Any),
        ])),
    ),
    ("versions", List(&Text)),
    ("severity", SEVERITIES),
    ("ecosystem_specific", Any),
    ("database_specific", Any),
]));
const REFERENCES: Shape = List(&Object(&[
    (
        "type",
        Word(&[
            "NONE",
            "ADVISORY",
            "ARTICLE",
            "DETECTION",
            "DISCUSSION",
            "EVIDENCE",
            "FIX",
            "GIT",
            "INTRODUCED",
            "PACKAGE",
            "REPORT",
            "WEB",
        ]),
    ),
    ("url", Text),
]));
const CREDITS: Shape = List(&Object(&[
    ("name", Text),
    ("contact", List(&Text)),
    (
        "type",
        Word(&[
            "UNSPECIFIED",
            "OTHER",
            "FINDER",
            "REPORTER",
            "ANALYST",
            "COORDINATOR",
            "REMEDIATION_DEVELOPER",
            "REMEDIATION_REVIEWER",
            "REMEDIATION_VERIFIER",
            "TOOL",
            "SPONSOR",
        ]),
    ),
]));
const RECORD: Shape = Object(&[
    ("schema_version", Text),
    ("id", Text),
    ("modified", Shape::Time),
    ("published", Shape::Time),
    ("withdrawn", Shape::Time),
    ("aliases", List(&Text)),
    ("upstream", List(&Text)),
    ("related", List(&Text)),
    ("summary", Text),
    ("details", Text),
    ("severity", SEVERITIES),
    ("affected", AFFECTED),
    ("references", REFERENCES),
    ("credits", CREDITS),
    ("database_specific", Any),
]);

/// A record that osv-scanner reads.
pub(super) struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RECORD.deserialize(deserializer)?;
        Ok(Readable)
    }
}

impl<'de> DeserializeSeed<'de> for Shape {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Text | Word(_) => "a string",
            Shape::Time => "a time",
            List(_) => "a list",
            Object(_) | Any => "an object",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self {
            Text => Ok(()),
            Shape::Time => text.parse::<Time>().map(drop).map_err(E::custom),
            Word(words) if words.contains(&text) => Ok(()),
            Word(words) => Err(E::unknown_variant(text, words)),
            _ => Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let List(item) = self else {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        };
        while items.next_element_seed(*item)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key::<String>()? {
            match self {
                Any => drop(entries.next_value::<IgnoredAny>()?),
                Object(fields) => {
                    let field = fields.iter().find(|(name, _)| *name == key);
                    let (_, shape) = field
                        .ok_or_else(|| A::Error::custom(format_args!("unknown field {key:?}")))?;
                    entries.next_value_seed(*shape)?;
                }
                _ => return Err(A::Error::invalid_type(Unexpected::Map, &self)),
            }
        }
        Ok(())
    }
}
