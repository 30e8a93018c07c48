//! What the entries of a layer are given by their paths: owner, mode and time.

use std::str::FromStr;

use globset::{Candidate, GlobBuilder, GlobSet};

use crate::tar::{Content, Entry, MAX_PATH, Mtime};
use crate::text::abridged;

/// What a user says of all paths that match a pattern.
#[derive(Clone, Debug)]
pub struct MetadataRule {
    pattern: PathPattern,
    set: MetadataChange,
}

/// A pattern of paths: `*` and `?` for what is in one component, `**` for components, `[…]` and `{…,…}` for choices.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    matcher: Option<GlobSet>,
}

/// What is given; what is not said stays as it is. In the words of mtree(5): `mode` in octal, `uid`, `gid`, `uname`, `gname`,
/// and `time` in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataChange {
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    user: Option<String>,
    group: Option<String>,
    seconds: Option<i64>,
}

/// What makes a path a pattern.
const SPECIAL: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];

impl MetadataRule {
    /// Says `set` of what matches `pattern`.
    pub fn new(pattern: PathPattern, set: MetadataChange) -> Self {
        MetadataRule { pattern, set }
    }

    /// Sets what it says of an entry; returns whether it says anything of it. A hard link has what it is another name of.
    pub(super) fn apply(&self, entry: &mut Entry) -> bool {
        let is_name = matches!(entry.content, Content::HardLink { .. });
        let is_meant = !is_name && self.pattern.matches(&entry.path);
        if is_meant {
            self.set.apply(entry);
        }
        is_meant
    }

    /// Whether it names the one path `path`, and does not merely match it.
    pub(super) fn names(&self, path: &[u8]) -> bool {
        self.pattern.path().is_some() && self.pattern.matches(path)
    }

    /// The pattern, as it was written.
    pub(super) fn pattern(&self) -> &str {
        &self.pattern.text
    }
}

impl PathPattern {
    /// The pattern that one path alone matches.
    pub fn literal(path: &str) -> Self {
        PathPattern {
            text: path.to_owned(),
            matcher: None,
        }
    }

    /// The one path that matches, if there is only one.
    pub(super) fn path(&self) -> Option<&str> {
        self.matcher.is_none().then_some(&*self.text)
    }

    /// What of it no pattern character is in, up to a slash, and what follows, if that is not all.
    pub(super) fn literal_part(&self) -> (&str, Option<&str>) {
        let Some(special) = self.matcher.as_ref().and_then(|_| self.text.find(SPECIAL)) else {
            return (&self.text, None);
        };
        let end = self.text[..special].rfind('/').map_or(0, |slash| slash + 1);
        (&self.text[..end], Some(&self.text[end..]))
    }

    /// What is left of it after its literal part, below `parents`.
    pub(super) fn below(&self, parents: &str, rest: &str) -> Result<Self, String> {
        let moved = format!("{}/{rest}", globset::escape(parents));
        Ok(PathPattern {
            text: self.text.clone(),
            ..moved.parse()?
        })
    }

    /// Whether the path of an entry, from the root and without a slash before it, is such a path.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match &self.matcher {
            Some(matcher) => matcher.is_match_candidate(&Candidate::from_bytes(path)),
            None => trimmed(&self.text).as_bytes() == path,
        }
    }
}

fn trimmed(path: &str) -> &str {
    path.trim_matches('/')
}

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains(SPECIAL) {
            return Ok(PathPattern::literal(text));
        }
        // Choices within choices are read by recursion.
        if text.len() > MAX_PATH {
            return Err(format!(
                "a pattern of paths may have {MAX_PATH} bytes, and this one has {}: give several",
                text.len()
            ));
        }
        let glob = GlobBuilder::new(trimmed(text))
            .literal_separator(true)
            .build();
        // Unlike a matcher, a set tells when it cannot be made.
        let matcher = glob.and_then(|glob| GlobSet::new([glob]));
        let matcher = matcher.map_err(|error| {
            format!(
                "{:?} is not a pattern of paths: {}",
                abridged(text),
                error.kind()
            )
        })?;
        Ok(PathPattern {
            text: text.to_owned(),
            matcher: Some(matcher),
        })
    }
}

impl MetadataChange {
    /// Sets nothing but the mode.
    pub fn mode(mode: u32) -> Self {
        MetadataChange {
            mode: Some(mode),
            ..MetadataChange::default()
        }
    }

    fn apply(&self, entry: &mut Entry) {
        let metadata = &mut entry.metadata;
        // Nobody looks at the mode of a link.
        if let (Some(mode), false) = (self.mode, matches!(entry.content, Content::Symlink { .. })) {
            metadata.mode = mode;
        }
        for (said, id) in [(self.uid, &mut metadata.uid), (self.gid, &mut metadata.gid)] {
            *id = said.unwrap_or(*id);
        }
        // A name beside another number would be of somebody else, and counts before it where an archive is unpacked by root.
        for (said, id, name) in [
            (&self.user, self.uid, &mut metadata.user),
            (&self.group, self.gid, &mut metadata.group),
        ] {
            match said {
                Some(said) => *name = said.clone().into_bytes(),
                None if id.is_some() => name.clear(),
                None => {}
            }
        }
        if let Some(seconds) = self.seconds {
            metadata.mtime = Mtime {
                seconds,
                nanoseconds: 0,
            };
        }
    }
}

impl FromStr for MetadataChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut change = MetadataChange::default();
        let mut seen = Vec::new();
        for word in text.split_ascii_whitespace() {
            let refused = || {
                format!(
                    "{word:?} says nothing of a file: expected mode=OCTAL, uid=NUMBER, gid=NUMBER, uname=NAME, gname=NAME or time=SECONDS"
                )
            };
            let (key, value) = word.split_once('=').ok_or_else(refused)?;
            if seen.contains(&key) {
                return Err(format!("{text:?} says {key} twice"));
            }
            seen.push(key);
            let number = || value.parse().map_err(|_| refused());
            match key {
                "mode" => change.mode = Some(parse_mode(value)?),
                "uid" => change.uid = Some(number()?),
                "gid" => change.gid = Some(number()?),
                "uname" if !value.is_empty() => change.user = Some(value.to_owned()),
                "gname" if !value.is_empty() => change.group = Some(value.to_owned()),
                "time" => change.seconds = Some(value.parse().map_err(|_| refused())?),
                _ => return Err(refused()),
            }
        }
        if change == MetadataChange::default() {
            return Err(format!("{text:?} says nothing of a file"));
        }
        Ok(change)
    }
}

/// Reads a mode in octal, such as `0644`.
pub fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err(format!(
            "{text:?} is not a mode: expected octal digits, such as 0644"
        )),
    }
}
