//! Package URLs (github.com/package-url/purl-spec), by which lists, scanners and exceptions name packages.

use percent_encoding::percent_decode_str;

/// Whether this is meant for a package URL, whose scheme is in any case.
pub(super) fn is_purl(text: &str) -> bool {
    text.get(..4)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("pkg:"))
}

/// A package URL (github.com/package-url/purl-spec), decoded. Scanners do not agree on the case of names.
pub(super) struct Purl {
    pub(super) name: String,
    /// Which part of the package it is, if not the whole.
    pub(super) subpath: Option<String>,
    pub(super) version: Option<String>,
    pub(super) qualifiers: Vec<(String, String)>,
}

impl Purl {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (text, subpath) = text.split_once('#').unwrap_or((text, ""));
        let (text, qualifiers) = text.split_once('?').unwrap_or((text, ""));
        let name_end = text.rfind('/')?;
        let (name, version) = match text[name_end..].split_once('@') {
            Some((name, version)) => (&text[..name_end + name.len()], Some(decoded(version))),
            None => (text, None),
        };
        if !is_purl(name) {
            return None;
        }
        // Slashes behind the scheme mean nothing.
        let name = name["pkg:".len()..].trim_start_matches('/');
        let qualifiers = qualifiers
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let mut name = format!("pkg:{}", decoded(name).to_ascii_lowercase());
        // To PyPI they are the same.
        if name.starts_with("pkg:pypi/") {
            name = name.replace(['_', '.'], "-");
        }
        Some(Purl {
            name,
            subpath: Some(decoded(subpath)).filter(|subpath| !subpath.is_empty()),
            version: version.filter(|version| !version.is_empty()),
            qualifiers: qualifiers
                .map(|(key, value)| (key.to_ascii_lowercase(), decoded(value)))
                .collect(),
        })
    }

    /// Whether one package may be both: what one of them leaves out, the other may say.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        let agree = |one: &Option<String>, other: &Option<String>| {
            one.as_ref()
                .zip(other.as_ref())
                .is_none_or(|(one, other)| one == other)
        };
        let mut qualifiers = self.qualifiers.iter();
        self.name == other.name
            && agree(&self.version, &other.version)
            && agree(&self.subpath, &other.subpath)
            && qualifiers.all(|(key, value)| {
                let mut others = other.qualifiers.iter();
                others.all(|(other, theirs)| other != key || theirs == value)
            })
    }

    /// A qualifier that says something.
    pub(super) fn qualifier(&self, name: &str) -> Option<&str> {
        let mut qualifiers = self.qualifiers.iter();
        let (_, value) = qualifiers.find(|(key, value)| key == name && !value.is_empty())?;
        Some(value)
    }
}

/// A qualifier of a package URL that says something.
pub(super) fn qualifier(purl: &str, name: &str) -> Option<String> {
    Purl::parse(purl)?.qualifier(name).map(str::to_owned)
}
