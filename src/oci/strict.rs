//! JSON documents, read in the one way that all their readers agree on.
//!
//! Go's decoder, which most runtimes and scanners use, takes a key for a field of another case, and merges
//! the values of a key that is there twice. So what can be read in two ways is refused: a repeated key in
//! any object, and two keys of which Go makes one field. A lone key in another case is read as Go reads it,
//! and `null` is an empty list, map or string, as Go writes one.
//!
//! [`Strict`] wraps serde's `Deserializer`: what a struct knows comes with `deserialize_struct`, and all
//! other objects are maps of whoever wrote them, in which only equal keys are one.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny,
    IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use crate::text::abridged;

/// Keys in another case in one document. Real images have a few; more are taken for an attack.
const MAX_FOLDED: usize = 1000;

/// What some editors write before a text in UTF-8 (RFC 8259, section 8.1).
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A key in another case than the specifications have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The objects and lists that lead to it.
    path: Vec<Step<'static>>,
    /// The key as it is.
    found: String,
    /// The key as it should be.
    meant: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step<'de> {
    Key(Cow<'de, str>),
    Index(usize),
}

impl Step<'_> {
    fn to_owned(&self) -> Step<'static> {
        match self {
            Step::Key(key) => Step::Key(Cow::Owned(key.to_string())),
            Step::Index(index) => Step::Index(*index),
        }
    }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Folded { found, meant, .. } = self;
        let mut key = format!("{found:?}");
        for (number, step) in self.path.iter().enumerate() {
            key.push_str(if number == 0 { " of " } else { "." });
            match step {
                Step::Key(step) => key.extend(step.escape_debug()),
                Step::Index(index) => key.push_str(&index.to_string()),
            }
        }
        write!(
            f,
            "the key {} is read as {meant:?}, as most tools do, but some do not",
            abridged(&key)
        )
    }
}

/// Reads one document.
///
/// The error has the key that is wrong, with its line and column; its document is for the caller to name.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let (document, _) = parse_with(bytes, without_sign)?;
    Ok(document)
}

/// As [`read`], with the keys that are in another case, of a type that keeps no values whose meaning it does not know:
/// among those there may be numbers that are too large for serde.
pub(crate) fn read_noting<T: DeserializeOwned>(
    bytes: &[u8],
) -> serde_json::Result<(T, Vec<Folded>)> {
    parse_with(bytes, |number| {
        without_sign(number).or_else(|| without_overflow(number))
    })
}

/// Parses a document, with other numbers in place of those that serde cannot read as Go does.
fn parse_with<T: DeserializeOwned>(
    bytes: &[u8],
    other: impl Fn(&str) -> Option<&'static str>,
) -> serde_json::Result<(T, Vec<Folded>)> {
    let document = with_other_numbers(bytes, other);
    parse(document.as_deref().unwrap_or(bytes)).map_err(|error| in_words(error, bytes))
}

/// The number 0 in place of that below it, which is a whole number to Go and none to serde.
fn without_sign(number: &str) -> Option<&'static str> {
    (number == "-0").then_some("0")
}

/// Another number, which is no integer either, in place of one that no `f64` holds.
#[expect(clippy::disallowed_methods, reason = "this is the one way to read")]
fn without_overflow(number: &str) -> Option<&'static str> {
    let is_number = || serde_json::from_str::<IgnoredAny>(number).is_ok();
    let is_too_large = number.parse().is_ok_and(f64::is_infinite);
    (is_too_large && is_number()).then_some("1e308")
}

fn of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || b"+-.eE".contains(&byte)
}

/// The same document with other numbers, which are no longer; nothing if there are none.
fn with_other_numbers(
    bytes: &[u8],
    other: impl Fn(&str) -> Option<&'static str>,
) -> Option<Vec<u8>> {
    let mut document = None;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at..];
        at += match byte {
            b'"' => {
                let mut is_escaped = true;
                let ends = |byte: &u8| {
                    let ends = *byte == b'"' && !is_escaped;
                    is_escaped = *byte == b'\\' && !is_escaped;
                    ends
                };
                1 + rest.iter().position(ends).unwrap_or(rest.len())
            }
            byte if of_number(*byte) => {
                let length = rest.iter().take_while(|byte| of_number(**byte)).count();
                let number = std::str::from_utf8(&rest[..length]).unwrap_or_default();
                if let Some(other) = other(number) {
                    let document = document.get_or_insert_with(|| bytes.to_vec());
                    // What is wrong with it has the same place then.
                    let (before, number) =
                        document[at..at + length].split_at_mut(length - other.len());
                    before.fill(b' ');
                    number.copy_from_slice(other.as_bytes());
                }
                length
            }
            _ => 1,
        };
    }
    document
}

#[expect(clippy::disallowed_methods, reason = "this is the one way to read")]
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<(T, Vec<Folded>)> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err(Error::custom(
            "it begins with a byte order mark, which JSON must not have",
        ));
    }
    let notes = Notes::default();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let document = T::deserialize(Strict {
        inner: &mut json,
        notes: &notes,
    })?;
    json.end()?;
    Ok((document, notes.folded.into_inner()))
}

/// What serde calls as those do who write such readers.
const SYNTAX: [(&str, &str); 12] = [
    ("expected value", "there is no value where one should be"),
    ("expected ident", "there is no value where one should be"),
    ("recursion limit exceeded", "it is nested too deep"),
    ("trailing characters", "there is something behind it"),
    ("number out of range", "there is a number that is too large"),
    (
        "invalid number",
        "there is a number in a form that JSON does not have",
    ),
    (
        "key must be a string",
        "there is no key in quotes where one should be",
    ),
    (
        "lone leading surrogate in hex escape",
        "there is half a surrogate pair",
    ),
    (
        "unexpected end of hex escape",
        "there is half a surrogate pair",
    ),
    (
        "invalid unicode code point",
        "there is text that is not UTF-8",
    ),
    (
        "control character (\\u0000-\\u001F) found while parsing a string",
        "there is a control character in a text",
    ),
    (
        "invalid escape",
        "there is an escape that JSON does not have",
    ),
];

/// An error of a document with JSON's words for what there is and what should be there, which serde calls as Rust does.
fn in_words(error: serde_json::Error, document: &[u8]) -> serde_json::Error {
    let text = error.to_string();
    let Some((problem, place)) = text.rsplit_once(" at line ") else {
        return error;
    };
    let missing = problem.strip_prefix("missing field `");
    let problem = if error.is_eof() {
        "it is cut: it ends early,".to_owned()
    } else if let Some((_, words)) = SYNTAX.iter().find(|(told, _)| *told == problem) {
        (*words).to_owned()
    } else if let Some(key) = missing.and_then(|rest| rest.strip_suffix('`')) {
        format!("the key {key:?} is missing")
    } else if let Some((found, expected)) = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|head| problem.strip_prefix(head))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        let written = || number_at(document, error.line(), error.column());
        let found = found_in_words(found, written);
        let expected = expected_in_words(expected);
        format!("there is {found} where {expected} should be")
    } else {
        problem.to_owned()
    };
    // serde_json takes the place from the end of the text.
    Error::custom(format!("{} at line {place}", abridged(&problem)))
}

fn found_in_words<'a>(found: &str, written: impl FnOnce() -> Option<&'a str>) -> String {
    match found.split_once(' ').unwrap_or((found, "")) {
        ("map", _) => "an object".to_owned(),
        ("sequence", _) => "a list".to_owned(),
        ("string", text) => format!("the text {text}"),
        ("integer" | "floating", number) => {
            let read = number.trim_start_matches("point ").trim_matches('`');
            format!("the number {}", written().unwrap_or(read))
        }
        ("boolean", value) => value.trim_matches('`').to_owned(),
        _ => found.to_owned(),
    }
}

/// The number that ends at a place of a document, as it is written there: serde knows it as the double that it is read as.
fn number_at(document: &[u8], line: usize, column: usize) -> Option<&str> {
    let mut lines = document.split(|byte| *byte == b'\n');
    let line = lines.nth(line.checked_sub(1)?)?;
    let (before, behind) = line.split_at_checked(column)?;
    let of_it = |byte: &&u8| of_number(**byte);
    let begin = column - before.iter().rev().take_while(of_it).count();
    let end = column + behind.iter().take_while(of_it).count();
    let number = str::from_utf8(&line[begin..end]).ok();
    number.filter(|number| !number.is_empty())
}

fn expected_in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not below 0,",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a map" => "an object",
        "a sequence" => "a list",
        "a string" => "text",
        "a boolean" => "true or false",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

/// Gives keys the case in which the specifications have them.
pub(crate) fn respell(document: &mut Map<String, Value>, folded: &[Folded]) {
    for Folded { path, found, meant } in folded {
        if let Some(object) = object_at(document, path)
            && let Some(value) = object.remove(found)
        {
            object.insert((*meant).to_owned(), value);
        }
    }
}

fn object_at<'a>(
    document: &'a mut Map<String, Value>,
    path: &[Step<'_>],
) -> Option<&'a mut Map<String, Value>> {
    let Some((first, rest)) = path.split_first() else {
        return Some(document);
    };
    let Step::Key(key) = first else {
        return None;
    };
    let mut steps = rest.iter();
    let value = steps.try_fold(document.get_mut(&**key)?, |value, step| match step {
        Step::Key(key) => value.get_mut(&**key),
        Step::Index(index) => value.get_mut(index),
    });
    value?.as_object_mut()
}

/// What is known while a document is read.
#[derive(Default)]
struct Notes<'de> {
    path: RefCell<Vec<Step<'de>>>,
    folded: RefCell<Vec<Folded>>,
}

impl<'de> Notes<'de> {
    fn below<T>(&self, step: Step<'de>, read: impl FnOnce() -> T) -> T {
        self.path.borrow_mut().push(step);
        let value = read();
        self.path.borrow_mut().pop();
        value
    }
}

/// Whether Go takes `key` for `field`, which is ASCII: no others fold to ASCII than these two.
pub(crate) fn folds_to(key: &str, field: &str) -> bool {
    key.chars().map(fold).eq(field.chars().map(fold))
}

/// Whether a text has a field's name in it, in any case.
pub(crate) fn mentions(text: &str, field: &str) -> bool {
    text.chars().map(fold).collect::<String>().contains(field)
}

fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    }
}

/// A deserializer, or a seed, whose objects are checked.
struct Strict<'a, 'de, D> {
    inner: D,
    notes: &'a Notes<'de>,
}

/// What `null` stands for.
#[derive(Clone, Copy)]
enum Null {
    Itself,
    Text,
    List,
    Map,
}

impl<'a, 'de, D> Strict<'a, 'de, D> {
    fn visitor<V>(&self, visitor: V, null: Null) -> Checked<'a, 'de, V> {
        Checked {
            visitor,
            null,
            fields: None,
            notes: self.notes,
        }
    }
}

macro_rules! forward {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.visitor(visitor, Null::Itself);
            self.inner.$method(visitor)
        }
    )*};
}

macro_rules! nullable {
    ($($method:ident $null:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.visitor(visitor, Null::$null);
            self.inner.deserialize_any(visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, 'de, D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
        deserialize_char deserialize_bytes deserialize_byte_buf deserialize_option deserialize_unit
        deserialize_identifier
    }

    // What nobody reads is checked as well.
    nullable! {
        deserialize_ignored_any Itself deserialize_str Text deserialize_string Text
        deserialize_seq List deserialize_map Map
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = Checked {
            fields: Some(fields),
            ..self.visitor(visitor, Null::Itself)
        };
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visitor(visitor, Null::Itself);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visitor(visitor, Null::Itself);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visitor(visitor, Null::Itself);
        self.inner.deserialize_tuple(length, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visitor(visitor, Null::Itself);
        self.inner.deserialize_tuple_struct(name, length, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visitor(visitor, Null::Itself);
        self.inner.deserialize_enum(name, variants, visitor)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let notes = self.notes;
        self.inner.deserialize(Strict { inner, notes })
    }
}

/// A visitor whose objects are checked.
struct Checked<'a, 'de, V> {
    visitor: V,
    null: Null,
    /// The keys of a struct; none for a map.
    fields: Option<&'static [&'static str]>,
    notes: &'a Notes<'de>,
}

macro_rules! visit {
    ($($method:ident $value:ty)*) => {$(
        fn $method<E: Error>(self, value: $value) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Checked<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit! {
        visit_bool bool visit_i64 i64 visit_u64 u64 visit_f64 f64 visit_str &str
        visit_borrowed_str &'de str visit_string String
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        match self.null {
            Null::Itself => self.visitor.visit_unit(),
            Null::Text => self.visitor.visit_str(""),
            Null::List => {
                let none = SeqDeserializer::new(std::iter::empty::<()>());
                self.visitor.visit_seq(none)
            }
            Null::Map => {
                let none = MapDeserializer::new(std::iter::empty::<((), ())>());
                self.visitor.visit_map(none)
            }
        }
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let notes = self.notes;
        self.visitor.visit_some(Strict { inner, notes })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let notes = self.notes;
        self.visitor.visit_newtype_struct(Strict { inner, notes })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        if self.fields.is_some() {
            // serde would take its values for the fields, in their order.
            return Err(A::Error::custom(
                "there is a list where an object should be",
            ));
        }
        self.visitor.visit_seq(Items {
            inner,
            next: 0,
            notes: self.notes,
        })
    }

    // Variants are words: what one would hold is not checked.
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(inner)
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Members {
            inner,
            fields: self.fields.unwrap_or_default(),
            seen_fields: Vec::new(),
            seen: HashSet::new(),
            step: None,
            notes: self.notes,
        })
    }
}

/// A list whose objects are checked.
struct Items<'a, 'de, A> {
    inner: A,
    next: usize,
    notes: &'a Notes<'de>,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, 'de, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        inner: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let notes = self.notes;
        let step = Step::Index(self.next);
        self.next += 1;
        notes.below(step, || {
            self.inner.next_element_seed(Strict { inner, notes })
        })
    }
}

/// An object, checked.
struct Members<'a, 'de, A> {
    inner: A,
    fields: &'static [&'static str],
    /// The keys so far that are read as one of these, in their order, and the others.
    seen_fields: Vec<Option<Cow<'de, str>>>,
    seen: HashSet<Cow<'de, str>>,
    /// The key whose value comes next.
    step: Option<Cow<'de, str>>,
    notes: &'a Notes<'de>,
}

/// A key, which mostly is as it stands in the document.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, A: MapAccess<'de>> Members<'_, 'de, A> {
    /// What a key is read as. It is an error if there is such a one already.
    fn name(&mut self, key: Cow<'de, str>) -> Result<Cow<'de, str>, A::Error> {
        let mut fields = self.fields.iter();
        let Some(number) = fields
            .position(|field| *field == key)
            .or_else(|| self.fields.iter().position(|field| folds_to(&key, field)))
        else {
            if self.seen.insert(key.clone()) {
                return Ok(key);
            }
            return Err(is_twice(&key));
        };
        let meant = self.fields[number];
        self.seen_fields.resize(self.fields.len(), None);
        match &self.seen_fields[number] {
            Some(other) if *other == key => {
                return Err(is_twice(&key));
            }
            Some(other) => {
                return Err(in_two_ways(format_args!(
                    "the keys {other:?} and {key:?} are one to most tools"
                )));
            }
            None => {}
        }
        if key != meant {
            let mut folded = self.notes.folded.borrow_mut();
            if folded.len() == MAX_FOLDED {
                return Err(A::Error::custom(format_args!(
                    "the key {key:?} is {meant:?} in another case, as {MAX_FOLDED} keys before it"
                )));
            }
            folded.push(Folded {
                path: self
                    .notes
                    .path
                    .borrow()
                    .iter()
                    .map(Step::to_owned)
                    .collect(),
                found: key.clone().into_owned(),
                meant,
            });
        }
        self.seen_fields[number] = Some(key);
        Ok(Cow::Borrowed(meant))
    }
}

fn is_twice<E: Error>(key: &str) -> E {
    in_two_ways(format_args!("the key {key:?} is there twice"))
}

fn in_two_ways<E: Error>(problem: fmt::Arguments<'_>) -> E {
    E::custom(format_args!(
        "{problem}, so the document can be read in two ways"
    ))
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(Key(key)) = self.inner.next_key()? else {
            return Ok(None);
        };
        let name = self.name(key)?;
        let read = seed.deserialize((&*name).into_deserializer());
        self.step = Some(name);
        read.map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, inner: T) -> Result<T::Value, A::Error> {
        let notes = self.notes;
        let step = Step::Key(self.step.take().unwrap_or_default());
        notes.below(step, || self.inner.next_value_seed(Strict { inner, notes }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Inner {
        size: Option<u64>,
        work_kind: String,
        labels: BTreeMap<String, String>,
        list: Vec<Inner>,
        unread: Option<IgnoredAny>,
        needed: Option<Needed>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Needed {
        #[serde(rename = "key")]
        _key: String,
    }

    fn failure(text: &str) -> String {
        read::<Inner>(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_with_its_place() {
        for (text, place) in [
            (r#"{"size":1,"size":1}"#, "\"size\" is there twice"),
            (r#"{"size":1,"s\u0069ze":1}"#, "\"size\" is there twice"),
            (r#"{"size":1,"Size":2}"#, "\"size\" and \"Size\""),
            (r#"{"ſize":1,"size":2}"#, "\"ſize\" and \"size\""),
            (r#"{"worKKind":"","workKind":""}"#, "are one to most tools"),
            (
                r#"{"list":[{"size":1},{"SIZE":1,"SiZe":1}]}"#,
                "\"SIZE\" and \"SiZe\"",
            ),
            (r#"{"labels":{"a":"1","a":"1"}}"#, "\"a\" is there twice"),
            (r#"{"other":{"a":[{"b":1,"b":2}]}}"#, "\"b\" is there twice"),
            (r#"{"unread":{"b":1,"b":2}}"#, "\"b\" is there twice"),
            (r#"{"other":1,"other":2}"#, "\"other\" is there twice"),
        ] {
            let error = failure(text);
            assert!(
                error.contains(place) && error.contains("line 1 column"),
                "{text}: {error}"
            );
        }
        let error = failure("{\n \"list\": [\n  {\"size\": 1,\n   \"size\": 2}]}");
        assert!(error.ends_with("at line 4 column 9"), "{error}");
        assert_eq!(
            read::<Value>(br#"{"a":1,"A":2}"#).unwrap(),
            json!({"a": 1, "A": 2})
        );
        assert!(read::<Value>(br#"{"a":[{"b":1,"b":2}]}"#).is_err());
    }

    #[test]
    fn users_maps_and_unknown_objects_have_keys_of_any_case() {
        let text = r#"{"labels":{"size":"1","Size":"2"},"other":{"size":1,"Size":2},"x":1,"X":2}"#;
        let (read, folded) = read_noting::<Inner>(text.as_bytes()).unwrap();
        assert_eq!(read.labels.len(), 2);
        assert_eq!(folded, []);
    }

    #[test]
    fn what_is_of_another_type_is_told_in_words_of_json() {
        let told = |text: &str| failure(text);
        for (text, expected) in [
            (
                r#"{"list":{}}"#,
                "there is an object where a list should be at line 1",
            ),
            (
                r#"{"list":[{"size":"7, expected u64"}]}"#,
                "there is the text \"7, expected u64\" where a whole number, not below 0, should be at line 1",
            ),
            (
                r#"{"list":[{"size":[]}]}"#,
                "there is a list where a whole number, not below 0, should be at line 1",
            ),
            (
                r#"{"list":[{"size":-1}]}"#,
                "there is the number -1 where a whole number",
            ),
            (
                r#"{"list":[{"size":2.5}]}"#,
                "there is the number 2.5 where a whole number",
            ),
            (
                "{\n\"size\" : 99999999999999999999999 }",
                "there is the number 99999999999999999999999 where a whole number, not below 0, should be at line 2 column 32",
            ),
            (
                r#"{"size":-0.0}"#,
                "there is the number -0.0 where a whole number",
            ),
            (
                r#"{"workKind":-0}"#,
                "there is the number -0 where text should be",
            ),
            (
                r#"{"size":1.50}"#,
                "there is the number 1.50 where a whole number",
            ),
            (
                r#"{"other":01}"#,
                "there is a number in a form that JSON does not have at line 1",
            ),
            (
                "{other:1}",
                "there is no key in quotes where one should be at line 1",
            ),
            (
                r#"{"workKind":7}"#,
                "there is the number 7 where text should be",
            ),
            (r#"{"workKind":true}"#, "there is true where text should be"),
            (
                r#"{"list":["x"]}"#,
                "there is the text \"x\" where an object should be at line 1 column 12",
            ),
            (
                "7",
                "there is the number 7 where an object should be at line 1",
            ),
            (
                r#"{"needed":{"other":1}}"#,
                "the key \"key\" is missing at line 1 column 21",
            ),
            ("", "it is cut: it ends early, at line 1 column 0"),
            (
                r#"{"list":["#,
                "it is cut: it ends early, at line 1 column 9",
            ),
            (
                r#"{"list":"#,
                "it is cut: it ends early, at line 1 column 8",
            ),
            ("{} {}", "there is something behind it at line 1 column 4"),
            (
                "{\"other\":\"\u{1}\"}",
                "there is a control character in a text at line 1",
            ),
            (
                r#"{"other":"\ud800"}"#,
                "there is half a surrogate pair at line 1",
            ),
            (
                r#"{"other":"\q"}"#,
                "there is an escape that JSON does not have at line 1",
            ),
            (
                &format!("{{\"other\":{}", "[".repeat(200)),
                "it is nested too deep at line 1",
            ),
        ] {
            let error = told(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_has_no_end_does_not_hide_what_is_wrong() {
        let long = "x".repeat(1_000_000);
        for text in [
            format!(r#"{{"{long}":1,"{long}":2}}"#),
            format!(r#"{{"size":"{long}"}}"#),
        ] {
            let error = failure(&text);
            assert!(error.len() < 600, "{error}");
            assert!(
                error.contains("…") && error.contains(" at line 1 column "),
                "{error}"
            );
        }
        let path = vec![Step::Key(Cow::Owned(long))];
        let (found, meant) = ("SIZE".to_owned(), "size");
        let told = Folded { path, found, meant }.to_string();
        assert!(told.len() < 600 && told.contains("is read as"), "{told}");
    }

    #[test]
    fn not_all_keys_are_folded() {
        let text = |count| format!(r#"{{"list":[{}{{}}]}}"#, r#"{"SIZE":1},"#.repeat(count));
        assert_eq!(
            read_noting::<Inner>(text(1000).as_bytes()).unwrap().1.len(),
            1000
        );
        assert!(failure(&text(1001)).contains("in another case"));
    }

    #[test]
    fn a_lone_folded_key_is_read_and_told() {
        let text = r#"{"list":[{},{"ſIZE":7,"unread":{"Size":1}}],"WORKKIND":"k"}"#;
        let (read, folded) = read_noting::<Inner>(text.as_bytes()).unwrap();
        assert_eq!(read.list[1].size, Some(7));
        assert_eq!(read.work_kind, "k");
        let told: Vec<String> = folded.iter().map(ToString::to_string).collect();
        assert!(
            told[0].starts_with("the key \"ſIZE\" of list.1 is read as \"size\""),
            "{told:?}"
        );
        assert!(
            told[1].starts_with("the key \"WORKKIND\" is read as"),
            "{told:?}"
        );
        let mut document = super::read(text.as_bytes()).unwrap();
        respell(&mut document, &folded);
        assert_eq!(
            Value::Object(document),
            json!({"list": [{}, {"size": 7, "unread": {"Size": 1}}], "workKind": "k"})
        );
    }

    #[test]
    fn a_number_that_nobody_reads_may_be_too_large() {
        let digits = "9".repeat(400);
        for number in ["1e999", "-1.5E+999", &digits, "1e99999999999999999999"] {
            let text = format!(r#"{{"other":[{number},"\"\\",{{"a":{number}}}],"size":7}}"#);
            let (read, _) = read_noting::<Inner>(text.as_bytes()).unwrap();
            assert_eq!(read.size, Some(7));
            // What is kept is kept as it is.
            assert!(super::read::<Value>(text.as_bytes()).is_err());
            for bad in [
                format!(r#"{{"size":{number}}}"#),
                format!(r#"{{"other":{number},"other":{number}}}"#),
                format!(r#"{{"other":{number},"a":01e999}}"#),
                format!(r#"{{"other":{number},"a":1.e999}}"#),
                format!(r#"{{"other":{number}"#),
            ] {
                assert!(read_noting::<Inner>(bad.as_bytes()).is_err(), "{bad}");
            }
            let bad = format!("{{\"a\":{number},\n\"size\": {number} }}");
            let error = read_noting::<Inner>(bad.as_bytes()).unwrap_err();
            let told = format!("there is the number {}", &number[..number.len().min(100)]);
            assert!(error.to_string().starts_with(&told), "{error}");
        }
        let text = br#"{"other":1e999,"labels":{"a":"1e999 \\"},"workKind":"\"1e999"}"#;
        let (read, _) = read_noting::<Inner>(text).unwrap();
        assert_eq!(
            (&*read.work_kind, &*read.labels["a"]),
            ("\"1e999", "1e999 \\")
        );
    }

    #[test]
    fn null_is_empty_and_a_list_is_no_object() {
        let text = br#"{"size":null,"workKind":null,"labels":null,"list":null,"unread":null}"#;
        assert_eq!(read::<Inner>(text).unwrap(), Inner::default());
        let text = br#"{"labels":{"a":null}}"#;
        assert_eq!(read::<Inner>(text).unwrap().labels["a"], "");
        for bad in [
            r#"{"list":[[1,"",{},[],0]]}"#,
            r#"{"list":[null]}"#,
            r#"{"list":{}}"#,
            r#"{"labels":[]}"#,
            r#"{"size":1.0}"#,
            r#"{"size":"1"}"#,
            "{} {}",
            "{\"a\":\"\u{1}\"}",
        ] {
            failure(bad);
        }
        assert!(read::<Inner>(b"{\"a\xff\":1}").is_err());
        let error = read::<Inner>(b"{\"other\":\"\xff\"}").unwrap_err();
        assert!(error.to_string().contains("is not UTF-8"), "{error}");
        assert!(read::<Inner>(br#"{"other":"\ud800"}"#).is_err());
        let deep = format!("{{\"other\":{}", "[".repeat(100_000));
        failure(&deep);
    }
}
