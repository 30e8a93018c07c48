//! The secrets of a request: whoever is sent them may repeat them in the answer, in whatever form.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use percent_encoding::percent_decode_str;
use reqwest::{Request, Response, Url, header};

use super::shown::HIDDEN;

/// What this program itself puts into a query or a form, which is no secret.
const OPEN: [&str; 9] = [
    "artifactType",
    "client_id",
    "digest",
    "from",
    "grant_type",
    "last",
    "mount",
    "scope",
    "service",
];
/// The shortest part of a query, and the shortest of a login, that is one, in bytes: what is shorter is in other words.
const LEAST_OF_QUERY: usize = 8;
const LEAST_OF_LOGIN: usize = 4;

/// How many secrets are sought in an answer, to which a redirect may lead with any number of them.
const MAX_SECRETS: usize = 50;
/// How many encodings in one another are looked through, as of JSON in a page that a query has.
const MAX_ENCODINGS: usize = 4;
/// The longest name of a letter in a page, and the longest tag, in bytes.
const MAX_NAME: usize = 31;
const MAX_TAG: usize = 255;

/// The secrets of a request.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Those of a request, which goes through a proxy or not.
    pub(super) fn of(request: &Request, proxy: Option<&Url>) -> Self {
        let mut secrets = Secrets::default();
        secrets.add_query(request.url().query().unwrap_or_default());
        let headers = request.headers();
        if headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|of| of == "application/x-www-form-urlencoded")
        {
            let form = request.body().and_then(reqwest::Body::as_bytes);
            secrets.add_query(&String::from_utf8_lossy(form.unwrap_or_default()));
        }
        let shown = headers.get(header::AUTHORIZATION);
        if let Some((_, shown)) = shown.and_then(|shown| shown.to_str().ok()?.split_once(' ')) {
            secrets.add(shown, LEAST_OF_LOGIN);
            if let Ok(login) = STANDARD.decode(shown) {
                secrets.add_login(&String::from_utf8_lossy(&login));
            }
        }
        if let Some(proxy) = proxy {
            let login = format!(
                "{}:{}",
                proxy.username(),
                proxy.password().unwrap_or_default()
            );
            secrets.add_login(&percent_decode_str(&login).decode_utf8_lossy());
        }
        secrets
    }

    /// Those of the request that an answer is to.
    pub(super) fn of_answer(response: &Response) -> Self {
        response.extensions().get().cloned().unwrap_or_default()
    }

    /// A text of an answer without them.
    pub(super) fn hide<'a>(&self, text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
        let text = text.into();
        let secrets = self.0.iter().flat_map(|secret| forms(secret));
        let secrets: Vec<_> = secrets
            .filter(|secret| secret.len() >= LEAST_OF_LOGIN)
            .collect();
        if secrets.is_empty() {
            return text;
        }
        // Who chose so many wants them to be sought for long.
        if self.0.len() > MAX_SECRETS {
            return HIDDEN.to_string().into();
        }
        let layers = Read::layers(&text);
        let mut hidden = vec![false; text.len()];
        for read in layers.iter().flat_map(|read| [read.clone(), read.folded()]) {
            for place in secrets.iter().flat_map(|secret| read.places_of(secret)) {
                hidden[place].fill(true);
            }
        }
        let mut shown = String::new();
        let mut was_hidden = false;
        for (at, character) in text.char_indices() {
            let is_hidden = hidden[at];
            if !is_hidden {
                shown.push(character);
            } else if !was_hidden {
                shown.push(HIDDEN);
            }
            was_hidden = is_hidden;
        }
        shown.into()
    }

    fn add(&mut self, secret: &str, least: usize) {
        let is_new = !self.0.iter().any(|known| known == secret);
        if secret.len() >= least && is_new && self.0.len() <= MAX_SECRETS {
            self.0.push(secret.to_owned());
        }
    }

    fn add_query(&mut self, query: &str) {
        self.add(query, LEAST_OF_QUERY);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or(("", pair));
            if !OPEN.contains(&name) {
                self.add(value, LEAST_OF_QUERY);
                self.add(
                    &percent_decode_str(value).decode_utf8_lossy(),
                    LEAST_OF_QUERY,
                );
            }
        }
    }

    fn add_login(&mut self, login: &str) {
        if let Some((_, password)) = login
            .split_once(':')
            .filter(|(_, password)| !password.is_empty())
        {
            for secret in [login, password] {
                self.add(secret, LEAST_OF_LOGIN);
                self.add(&STANDARD_NO_PAD.encode(secret), LEAST_OF_LOGIN);
                self.add(&URL_SAFE_NO_PAD.encode(secret), LEAST_OF_LOGIN);
            }
        }
    }
}

/// A secret as it is, without what may be lost of it, and as it is read where what is in it looks encoded.
fn forms(secret: &str) -> impl Iterator<Item = Vec<u8>> {
    let layers = Read::layers(secret);
    let folded = [layers.first(), layers.last()].map(|read| read.map(Read::folded));
    let folded = folded.into_iter().flatten().map(|read| read.bytes);
    [secret.as_bytes().to_vec()].into_iter().chain(folded)
}

/// What is read in a text, each byte with its place there.
#[derive(Clone)]
struct Read {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Read {
    /// A text as it is, and with one encoding after the other undone.
    fn layers(text: &str) -> Vec<Self> {
        let mut layers = vec![Read {
            bytes: text.as_bytes().to_vec(),
            places: (0..text.len()).map(|at| at..at + 1).collect(),
        }];
        while layers.len() <= MAX_ENCODINGS
            && let Some(decoded) = layers.last().and_then(Read::decoded)
        {
            layers.push(decoded);
        }
        layers
    }

    /// Without one encoding, if it has some.
    fn decoded(&self) -> Option<Self> {
        let mut decoded = Read {
            bytes: Vec::with_capacity(self.bytes.len()),
            places: Vec::with_capacity(self.bytes.len()),
        };
        let mut at = 0;
        while let Some(byte) = self.bytes.get(at) {
            let (length, bytes) = escaped(&self.bytes[at..]).unwrap_or((1, vec![*byte]));
            let place = self.places[at].start..self.places[at + length - 1].end;
            for byte in bytes {
                decoded.bytes.push(byte);
                decoded.places.push(place.clone());
            }
            at += length;
        }
        (decoded.bytes != self.bytes).then_some(decoded)
    }

    /// In small letters, without white space, which pages and lines change, the sign that a query has for it, and letters
    /// that another encoding has in another way.
    fn folded(&self) -> Self {
        let kept = self.bytes.iter().zip(&self.places);
        let kept = kept.filter(|(byte, _)| byte.is_ascii_graphic() && **byte != b'+');
        let (bytes, places) = kept
            .map(|(byte, place)| (byte.to_ascii_lowercase(), place.clone()))
            .unzip();
        Read { bytes, places }
    }

    /// Where the text has what is read as this.
    fn places_of(&self, secret: &[u8]) -> impl Iterator<Item = Range<usize>> {
        let found = memmem::find_iter(&self.bytes, secret);
        found.map(|at| self.places[at].start..self.places[at + secret.len() - 1].end)
    }
}

/// The length of what a text begins with, and what that stands for, if that is other than it is: an escape of a URL (RFC
/// 3986, 2.1), of JSON or the like, or of a page, or a tag of that.
fn escaped(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    let code = |digits: &[u8], radix| {
        let digits = str::from_utf8(digits)
            .ok()
            .filter(|digits| !digits.starts_with('+'))?;
        u32::from_str_radix(digits, radix).ok()
    };
    let letter = |code: u32| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    let (length, letter) = match text {
        [b'%', high, low, ..] => {
            let byte = code(&[*high, *low], 16)?.try_into().ok()?;
            return Some((3, vec![byte]));
        }
        [b'\\', b'u', digits @ ..] => (6, letter(code(digits.get(..4)?, 16)?)),
        [b'\\', b'x', digits @ ..] => (4, letter(code(digits.get(..2)?, 16)?)),
        [b'\\', b'b' | b'f' | b'n' | b'r' | b't', ..] => (2, ' '),
        [b'\\', letter @ (b'"' | b'\'' | b'/' | b'\\'), ..] => (2, char::from(*letter)),
        [b'&', entity @ ..] => {
            let end = entity.iter().take(MAX_NAME + 1).position(|c| *c == b';')?;
            let letter = match &*entity[..end].to_ascii_lowercase() {
                [b'#', b'x', digits @ ..] => letter(code(digits, 16)?),
                [b'#', digits @ ..] => letter(code(digits, 10)?),
                b"amp" => '&',
                b"lt" => '<',
                b"gt" => '>',
                b"quot" => '"',
                b"apos" => '\'',
                name if name.iter().all(u8::is_ascii_alphanumeric) => char::REPLACEMENT_CHARACTER,
                _ => return None,
            };
            (end + 2, letter)
        }
        [b'<', b'/' | b'a'..=b'z' | b'A'..=b'Z', tag @ ..] => {
            let end = tag.iter().take(MAX_TAG).position(|c| *c == b'>')?;
            (end + 3, ' ')
        }
        _ => return None,
    };
    Some((length, letter.to_string().into_bytes()))
}
