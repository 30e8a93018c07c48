//! What a registry asks for before it answers (RFC 9110, 11.3 and 11.6.1; the distribution's token
//! specification).

use reqwest::header::{self, HeaderMap};

use super::secrets::Secrets;
use super::shown::with_shown_urls;

/// How a registry wants to be shown who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token of a token service.
    Bearer {
        /// The token service's URL, as it was sent: it has yet to be checked.
        realm: String,
        /// What the token service calls the registry, if it has a name for it.
        service: Option<String>,
        /// What the token is to permit, as far as the registry says.
        scopes: Vec<String>,
    },
    /// A user and a password.
    Basic,
}

impl Challenge {
    /// The challenges that can be met among `values`, which are those of the `WWW-Authenticate` headers of
    /// one answer, the strongest first. What is malformed is passed over.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let parsed = values.into_iter().flat_map(parse_challenges);
        let mut challenges: Vec<_> = parsed.filter_map(|parsed| Self::of(&parsed)).collect();
        challenges.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
        challenges
    }

    fn of(parsed: &Parsed) -> Option<Self> {
        let param = |name: &str| {
            let found = parsed.params.iter().position(|(key, _)| key == name)?;
            Some(parsed.params[found].1.clone()).filter(|value| !value.is_empty())
        };
        if parsed.scheme.eq_ignore_ascii_case("bearer") {
            Some(Challenge::Bearer {
                realm: param("realm")?,
                service: param("service"),
                scopes: param("scope")
                    .iter()
                    .flat_map(|scopes| scopes.split_ascii_whitespace())
                    .map(str::to_owned)
                    .collect(),
            })
        } else {
            (parsed.scheme.eq_ignore_ascii_case("basic")).then_some(Challenge::Basic)
        }
    }
}

/// What an answer asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Challenges {
    /// Those that can be met, the strongest first.
    pub(super) usable: Vec<Challenge>,
    /// The headers, to be shown.
    pub(super) text: String,
}

impl Challenges {
    pub(super) fn of(headers: &HeaderMap, secrets: &Secrets) -> Self {
        let values = headers.get_all(header::WWW_AUTHENTICATE).into_iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        Challenges {
            usable: Challenge::parse(values.iter().map(String::as_str)),
            text: with_shown_urls(&secrets.hide(values.join(", "))),
        }
    }

    /// What an answer that asks for a login without saying for which means.
    pub(super) fn basic() -> Self {
        Challenges {
            usable: vec![Challenge::Basic],
            text: String::new(),
        }
    }

    /// Whether nothing was asked for at all.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.usable.is_empty()
    }
}

/// A challenge of any scheme.
struct Parsed {
    scheme: String,
    /// The parameters, by lower-case name; the first of a name counts.
    params: Vec<(String, String)>,
}

/// The challenges in one header. Where the grammar is broken, what follows the next comma counts again.
fn parse_challenges(value: &str) -> Vec<Parsed> {
    let mut challenges: Vec<Parsed> = Vec::new();
    let mut rest = Rest(value);
    loop {
        rest.skip(|c| is_space(c) || c == ',');
        if rest.0.is_empty() {
            return challenges;
        }
        let word = rest.take(is_token);
        if word.is_empty() {
            // Not a word: what follows the next comma may be one.
            if rest.take_quoted().is_none() {
                rest.take_one();
            }
            rest.skip(|c| c != ',' && c != '"');
            continue;
        }
        let spaces = rest.take(is_space);
        match (rest.0.strip_prefix('='), challenges.last_mut()) {
            (Some(after), Some(challenge)) => {
                rest.0 = after;
                rest.skip(is_space);
                let value = match rest.take_quoted() {
                    Some(value) => value,
                    // A quoted string without an end is none.
                    None if rest.0.starts_with('"') => return challenges,
                    None => Some(rest.take(|c| !is_space(c) && c != ',').to_owned()),
                };
                if let Some(value) = value {
                    challenge.params.push((word.to_ascii_lowercase(), value));
                }
            }
            (Some(_), None) => rest.skip(|c| c != ','),
            (None, _) => {
                challenges.push(Parsed {
                    scheme: word.to_owned(),
                    params: Vec::new(),
                });
                if !spaces.is_empty() {
                    rest.skip_token68();
                }
            }
        }
    }
}

/// What is left to parse of a header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !is(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, is: impl Fn(char) -> bool) {
        self.take(is);
    }

    fn take_one(&mut self) {
        let mut characters = self.0.chars();
        characters.next();
        self.0 = characters.as_str();
    }

    /// A quoted string (RFC 9110, 5.6.4), if one begins and ends here; inside, nothing where it holds what
    /// no value has.
    #[expect(
        clippy::option_option,
        reason = "there may be no string, or none of use"
    )]
    fn take_quoted(&mut self) -> Option<Option<String>> {
        let mut characters = self.0.strip_prefix('"')?.char_indices();
        let mut value = String::new();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &self.0[1 + at + 1..];
                    let fine = !value.chars().any(char::is_control);
                    return Some(fine.then_some(value));
                }
                '\\' => value.push(characters.next()?.1),
                character => value.push(character),
            }
        }
        None
    }

    /// Passes over what stands in the place of parameters for schemes that have none (RFC 9110, 11.2).
    fn skip_token68(&mut self) {
        let mut ahead = Rest(self.0);
        let body = ahead.take(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
        ahead.skip(|c| c == '=');
        ahead.skip(is_space);
        let ends = ahead.0.is_empty() || ahead.0.starts_with(',');
        if !body.is_empty() && ends {
            self.0 = ahead.0;
        }
    }
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASIC: &str = r#"Basic realm="r""#;
    const BEARER: &str = r#"Bearer realm="https://t.test/token",service="s,1""#;

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        }
    }

    #[test]
    fn prefers_bearer_to_basic() {
        assert_eq!(Challenge::parse([BASIC]), [Challenge::Basic]);
        let mut headers = HeaderMap::new();
        for value in [BASIC, BEARER] {
            headers.append(header::WWW_AUTHENTICATE, value.parse().unwrap());
        }
        let both = [
            bearer("https://t.test/token", Some("s,1"), &[]),
            Challenge::Basic,
        ];
        assert_eq!(Challenges::of(&headers, &Secrets::default()).usable, both);
        let one = format!("{BASIC}, {BEARER}");
        assert_eq!(Challenge::parse([one.as_str()]), both);
    }

    #[test]
    fn reads_the_whole_grammar() {
        let plain = bearer("https://t", Some("a\"b\\c"), &["x", "y"]);
        for value in [
            r#"Bearer realm="https://t",service="a\"b\\c",scope="x y""#,
            r#"bEARER  REALM = "https://t" , , Service	=	"a\"b\\\c", SCOPE="x  y""#,
            r#"Negotiate, Negotiate YWJj==, NTLM YWJj , Bearer realm="https://t",service="a\"b\\c",scope="x y""#,
            r#",, Digest realm="Basic a=\"", qop=auth, Bearer scope="x y",realm=https://t,service="a\"b\\c",realm="other""#,
            r#"Bearer realm="https://t" service="a\"b\\c" scope="x y""#,
            r#"=?, "a, b", Bearer realm="https://t",service="a\"b\\c",scope="x y""#,
        ] {
            assert_eq!(
                Challenge::parse([value]),
                std::slice::from_ref(&plain),
                "{value}"
            );
        }
        for value in [
            "Basic",
            "BASIC",
            "basic YWJj=",
            "Negotiate,Basic",
            "Basic, x",
        ] {
            assert_eq!(Challenge::parse([value]), [Challenge::Basic], "{value}");
        }
    }

    #[test]
    fn passes_over_what_is_malformed() {
        for bad in [
            "",
            "Bearer realm=\"",
            "Bearer service=\"no realm\"",
            "Bearer realm=\"\"",
            ",=,",
            "realm=x",
        ] {
            assert_eq!(Challenge::parse([bad]), [], "{bad:?}");
            assert_eq!(Challenge::parse([bad, BASIC]), [Challenge::Basic]);
        }
    }
}
