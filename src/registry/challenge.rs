//! What a registry asks for before it answers (RFC 9110, "WWW-Authenticate"; the distribution's
//! token specification).

use reqwest::header::{self, HeaderMap};

/// How a registry wants to be shown who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A user and a password.
    Basic,
    /// A token of a token service.
    Bearer {
        /// The token service's URL, as it was sent: it has yet to be checked.
        realm: String,
        /// What the token service calls the registry; may be empty.
        service: String,
    },
}

impl Challenge {
    /// The strongest challenge that can be met among `values`, which are those of the
    /// `WWW-Authenticate` headers of one answer. A value that is malformed is passed over.
    pub fn strongest<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for value in values {
            let Ok(challenges) = http_auth::parse_challenges(value) else {
                continue;
            };
            for challenge in challenges {
                let param = |name: &str| {
                    challenge
                        .params
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(realm) = param("realm") {
                        return Some(Challenge::Bearer {
                            realm,
                            service: param("service").unwrap_or_default(),
                        });
                    }
                } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Challenge::Basic);
                }
            }
        }
        basic
    }

    /// The strongest challenge in an answer's headers.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::WWW_AUTHENTICATE);
        Self::strongest(values.iter().filter_map(|value| value.to_str().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASIC: &str = r#"Basic realm="r""#;
    const BEARER: &str = r#"Bearer realm="https://t.test/token",service="s,1""#;

    #[test]
    fn prefers_bearer_to_basic() {
        assert_eq!(Challenge::strongest([BASIC]), Some(Challenge::Basic));
        let bearer = Challenge::Bearer {
            realm: "https://t.test/token".to_owned(),
            service: "s,1".to_owned(),
        };
        let mut headers = HeaderMap::new();
        for value in [BASIC, BEARER] {
            headers.append(header::WWW_AUTHENTICATE, value.parse().unwrap());
        }
        assert_eq!(Challenge::from_headers(&headers), Some(bearer));
    }

    #[test]
    fn passes_over_what_is_malformed() {
        for bad in ["", "Bearer realm=\"", "Bearer service=\"no realm\"", ",=,"] {
            assert_eq!(Challenge::strongest([bad]), None, "{bad:?}");
            assert_eq!(Challenge::strongest([bad, BASIC]), Some(Challenge::Basic));
        }
    }
}
