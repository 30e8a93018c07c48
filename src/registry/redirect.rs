//! Where an answer leads to, and how that is asked (RFC 9110, 15.4), at the same host or another one.

use std::str;

use reqwest::header;
use reqwest::{Request, Response, StatusCode, Url};

use crate::text::abridged;

/// Where an answer redirects to.
pub(super) fn location(response: &Response) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?;
    let location = str::from_utf8(location.as_bytes()).ok()?;
    let url = named(response, location)?;
    matches!(url.scheme(), "https" | "http").then_some(url)
}

/// What is wrong with where an answer redirects to, with a separator before it, if it should be followed and cannot be
/// (RFC 9110, 15.4).
pub(super) fn lost(response: &Response) -> Option<String> {
    let leads = matches!(response.status().as_u16(), 301..=303 | 307 | 308);
    if !leads || location(response).is_some() {
        return None;
    }
    let Some(location) = response.headers().get(header::LOCATION) else {
        return Some("; it does not say where to".to_owned());
    };
    let text = String::from_utf8_lossy(location.as_bytes());
    // It may hold a signature.
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let text = shown_without_login(text);
    let text = abridged(&text);
    Some(format!("; it leads to {text:?}, which cannot be followed"))
}

/// The URL that an answer names, as far as it is sent.
pub(super) fn named(response: &Response, name: &str) -> Option<Url> {
    let mut url = without_login(response.url().join(name).ok()?);
    url.set_fragment(None);
    Some(url)
}

/// A URL without a login in it: whom to show one, the user says and no registry.
pub(super) fn without_login(mut url: Url) -> Url {
    // What has no host has no login either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// What should be a URL, without a login that may be in it, to be shown.
pub(super) fn shown_without_login(text: &str) -> String {
    let (before, rest) = text.split_at(text.find("//").map_or(0, |at| at + 2));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{before}…{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// Of an answer that nobody was shown a login for: a URL that others name was asked, or a redirect led there.
#[derive(Clone, Copy, Debug)]
struct Elsewhere;

/// Notes of an answer that no login of ours is shown to who gave it, though it may be the registry.
pub(super) fn led_elsewhere(mut response: Response) -> Response {
    response.extensions_mut().insert(Elsewhere);
    response
}

/// Whether [`led_elsewhere`] noted that.
pub(super) fn is_elsewhere(response: &Response) -> bool {
    response.extensions().get::<Elsewhere>().is_some()
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
    if next.origin() != sent.url().origin() {
        sent.headers_mut().remove(header::AUTHORIZATION);
    }
    *sent.url_mut() = next;
    Some(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_login_is_shown_and_all_else_is() {
        for (text, shown) in [
            ("https://user:pw@host/a@b", "https://…@host/a@b"),
            ("https://user:p@w@host", "https://…@host"),
            ("https://host/a@b?last=a@b", "https://host/a@b?last=a@b"),
            ("//user:pw@host/x", "//…@host/x"),
            ("user:pw@host", "…@host"),
            ("/v2/a/b", "/v2/a/b"),
        ] {
            assert_eq!(shown_without_login(text), shown);
        }
    }
}
