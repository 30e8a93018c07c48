//! Where an answer leads to, and how that is asked (RFC 9110, 15.4), at the same host or another one.

use std::str;

use reqwest::header;
use reqwest::{Request, Response, StatusCode, Url};

/// Where an answer redirects to.
pub(super) fn location(response: &Response) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?;
    let location = str::from_utf8(location.as_bytes()).ok()?;
    let url = response.url().join(location).ok()?;
    matches!(url.scheme(), "https" | "http").then_some(url)
}

/// The request that an answer to `sent` leads to, if it is the same one elsewhere. What shows who is asking stays with
/// its host.
pub(super) fn elsewhere(mut sent: Request, response: &Response) -> Option<Request> {
    let is_same = match response.status() {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => true,
        // What was sent is not to be sent again.
        StatusCode::SEE_OTHER => sent.method().is_safe(),
        _ => false,
    };
    let next = location(response).filter(|_| is_same)?;
    if !same_host(&next, sent.url()) || next.scheme() != sent.url().scheme() {
        sent.headers_mut().remove(header::AUTHORIZATION);
    }
    *sent.url_mut() = next;
    Some(sent)
}

/// Whether two URLs have one host and port: the registry itself answered, not one it redirected to.
pub(super) fn same_host(one: &Url, other: &Url) -> bool {
    let host = |url: &Url| {
        (
            url.host_str().map(str::to_owned),
            url.port_or_known_default(),
        )
    };
    host(one) == host(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_with_its_default_port_and_in_capitals() {
        let url = |text| Url::parse(text).unwrap();
        let asked = url("https://GHCR.IO:443/v2/");
        assert!(same_host(&url("https://ghcr.io/v2/x"), &asked));
        assert!(!same_host(&url("https://ghcr.io:8443/v2/x"), &asked));
        assert!(!same_host(&url("https://cdn.ghcr.io/v2/x"), &asked));
    }
}
