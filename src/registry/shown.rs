//! URLs that others have written, as messages show them: without a login, and without a query, which may be a signature.

use std::borrow::Cow;

use reqwest::Url;

use crate::text::abridged;

/// What stands for what is not shown.
pub(super) const HIDDEN: char = '…';

/// What should be a URL.
pub(super) fn shown_url(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) if url.has_host() => of_url(text, url),
        _ => abridged(&of_text(text)).into_owned(),
    }
}

fn of_url(text: &str, mut url: Url) -> String {
    let has_login = !url.username().is_empty() || url.password().is_some();
    let has_more = url.query().is_some() || url.fragment().is_some();
    if !has_login && !has_more {
        return abridged(text).into_owned();
    }
    // What has a host can have no login.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    let mut shown = url.to_string();
    if has_login && let Some(at) = shown.find("//") {
        shown.insert_str(at + 2, "…@");
    }
    if has_more {
        shown.extend(['?', HIDDEN]);
    }
    abridged(&shown).into_owned()
}

/// Where a text is no URL, nobody knows where a login in it begins, nor whether an `@` is of its query.
fn of_text(text: &str) -> Cow<'_, str> {
    let more = text.find(['?', '#']);
    let is_path = text.starts_with('/') && !text.starts_with("//");
    match (text.rfind('@').filter(|_| !is_path), more) {
        (Some(at), Some(more)) if more < at => Cow::Owned(HIDDEN.to_string()),
        (Some(at), _) => {
            let (host, more) = split_query(&text[at..]);
            Cow::Owned(format!("{HIDDEN}{host}{more}"))
        }
        (None, Some(_)) => {
            let (path, more) = split_query(text);
            Cow::Owned(format!("{path}{more}"))
        }
        (None, None) => Cow::Borrowed(text),
    }
}

fn split_query(text: &str) -> (&str, &str) {
    match text.split_once(['?', '#']) {
        Some((before, _)) => (before, "?…"),
        None => (text, ""),
    }
}

/// A text in which there may be URLs. One in quotes may have spaces.
pub(super) fn with_shown_urls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(|c| !separates(c)) {
        let (before, word) = rest.split_at(begin);
        shown.push_str(before);
        let mut end = word.find(separates).unwrap_or(word.len());
        if before.ends_with('"') && word[..end].contains(':') {
            let quoted = word.find('"').unwrap_or(word.len());
            if may_have_login(&word[..quoted]) {
                end = quoted;
            }
        }
        let (word, after) = word.split_at(end);
        if may_have_login(word) {
            // The name of a parameter, or what a mirror is of.
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let name = word.find(|c| !is_name(c));
            let name = name.filter(|at| word[*at..].starts_with('='));
            let (name, url) = word.split_at(name.map_or(0, |at| at + 1));
            shown.push_str(name);
            shown.push_str(&shown_url(url));
        } else {
            let (path, more) = query_of_path(word).unwrap_or((word, ""));
            shown.extend([path, more]);
        }
        rest = after;
    }
    shown + rest
}

/// A word that is a path with a query, as some name what they were asked for, in two parts as they are shown.
fn query_of_path(word: &str) -> Option<(&str, &str)> {
    let (path, query) = word.split_once('?')?;
    let is_one = path.contains('/') && query.contains(|c: char| c.is_alphanumeric());
    is_one.then_some((path, "?…"))
}

fn separates(c: char) -> bool {
    c.is_whitespace() || "\"<>".contains(c)
}

/// Whether a word is a URL, or like one with a login. An address of mail is not, nor is an image with its digest.
fn may_have_login(word: &str) -> bool {
    let has_password = || {
        let login = word.rsplit_once('@');
        login.is_some_and(|(login, host)| {
            login.contains(':')
                && !["sha256:", "sha512:"]
                    .iter()
                    .any(|digest| host.starts_with(digest))
        })
    };
    word.contains("//") || has_password()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_shown_and_all_else_is() {
        for (text, shown) in [
            ("https://user:pw@host/a@b", "https://…@host/a@b"),
            ("https://user:p@w@host", "https://…@host/"),
            ("HTTPS:user:pw@host/x", "https://…@host/x"),
            ("https:\\\\user:pw@host/x", "https://…@host/x"),
            ("oci://pw@host:1/x", "oci://…@host:1/x"),
            ("https://host:5000/a@b?last=a@b", "https://host:5000/a@b?…"),
            ("https://host/a#pw", "https://host/a?…"),
            ("https://host/a", "https://host/a"),
            ("//user:pw@host/x", "…@host/x"),
            ("user:pw@host", "…@host"),
            ("http://user:p/w@host/x", "…@host/x"),
            ("http://user:p?w@host/x", "…"),
            ("http://user:p w@ho st/x?sig", "…@ho st/x?…"),
            ("/v2/a/b", "/v2/a/b"),
            ("/v2/a@b?pw", "/v2/a@b?…"),
            ("nowhere", "nowhere"),
        ] {
            assert_eq!(shown_url(text), shown);
        }
        let long = format!("https://host/{}", "x".repeat(1000));
        assert!(shown_url(&long).chars().count() < 500);
    }

    #[test]
    fn no_secret_of_a_url_in_a_text_is_shown() {
        for (text, shown) in [
            (
                r#"Bearer realm="https://u:p w@h/t?sig=1",service="a,b" , Basic"#,
                r#"Bearer realm="https://…@h/t?…",service="a,b" , Basic"#,
            ),
            (
                "Bearer realm=https://u:pw@h/t,service=s",
                "Bearer realm=https://…@h/t,service=s",
            ),
            (r#"Bearer realm="u:p w@h/t""#, r#"Bearer realm="…@h/t""#),
            (
                "go to <https://h/a?b=c>, or ask admin@h.test: no?",
                "go to <https://h/a?…>, or ask admin@h.test: no?",
            ),
            ("no \"u:pw@h", "no \"…@h"),
            ("Cannot GET /b?sig=1.", "Cannot GET /b?…"),
            ("'/a/b?sig' and/or? a?b", "'/a/b?… and/or? a?b"),
            ("no h:1/a:b@sha256:00", "no h:1/a:b@sha256:00"),
            ("  no way ", "  no way "),
            ("", ""),
        ] {
            assert_eq!(with_shown_urls(text), shown);
        }
    }
}
