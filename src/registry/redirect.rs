//! Where an answer leads to, and how that is asked (RFC 9110, 15.4), at the same host or another one.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, percent_encode};
use reqwest::header::{self, HeaderValue};
use reqwest::{Request, Response, StatusCode, Url};

use super::shown::shown_url;

/// Where an answer redirects to.
pub(super) fn location(response: &Response) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = text_of(response.headers().get(header::LOCATION)?);
    let url = named(response, &location)?;
    is_http(&url).then_some(url)
}

/// Whether a URL is one that can be asked.
pub(super) fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
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
    let location = shown_url(&String::from_utf8_lossy(location.as_bytes()));
    Some(format!(
        "; it leads to {location:?}, which cannot be followed"
    ))
}

/// A URL in a header, in which some have bytes that are none of a URL's (RFC 3986, 2.1).
pub(super) fn text_of(value: &HeaderValue) -> Cow<'_, str> {
    percent_encode(value.as_bytes(), &AsciiSet::EMPTY).into()
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
