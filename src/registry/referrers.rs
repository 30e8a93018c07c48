//! What refers to a manifest (OCI distribution spec, "Listing Referrers" and "Referrers Tag Schema").

use std::collections::HashSet;

use reqwest::header::{self, HeaderMap};
use reqwest::{Method, Response, StatusCode, Url};

use crate::oci::descriptor::{Descriptor, Kind, MediaType};
use crate::oci::digest::Digest;
use crate::oci::manifest::{ImageIndex, MAX_MANIFEST_SIZE};

use super::body::authority;
use super::shown::shown_url;
use super::{Client, RegistryError, Subject, redirect};

/// Pages of one list; more are taken for an attack.
const MAX_PAGES: usize = 100;
/// Entries of one list; more are taken for an attack as well.
const MAX_ENTRIES: usize = 10_000;

impl Client {
    /// The manifests that refer to the one of `digest`, in the registry's order, as the registry says:
    /// nothing of it is verified. `None` where the registry has neither the API nor the tag that stands
    /// in for it.
    pub(crate) async fn referrers(
        &self,
        digest: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let what = Subject::Referrers(digest.clone());
        let first = self.url(&what, &format!("referrers/{digest}")).await?;
        let mut url = first.clone();
        let mut seen = HashSet::from([first.clone()]);
        let mut found = Vec::new();
        for _ in 0..MAX_PAGES {
            let shape = |request| what.read(None, request);
            let response = self.ask_url(&what, Method::GET, url.clone(), shape).await?;
            if url == first && self.is_without_api(&response).await? {
                return self.referrers_by_tag(&what, digest).await;
            }
            let response = self.accept(&what, response).await?;
            let next = next_page(response.headers())
                .map(|next| (shown_url(next), redirect::named(&response, next)));
            found.extend(self.read_list(&what, response).await?);
            if found.len() > MAX_ENTRIES {
                break;
            }
            url = match next {
                None => return Ok(Some(found)),
                Some((_, Some(next)))
                    if next.origin() == first.origin() && seen.insert(next.clone()) =>
                {
                    next
                }
                Some((next, Some(url))) if url.origin() == first.origin() => {
                    return Err(RegistryError::PageAgain {
                        what,
                        host: self.host(),
                        next,
                    });
                }
                Some((_, Some(next))) if is_in_clear(&next, &first) => {
                    return Err(RegistryError::Location {
                        what,
                        host: self.host(),
                        url: shown_url(next.as_str()),
                    });
                }
                Some((next, _)) => {
                    return Err(RegistryError::NextPage {
                        what,
                        host: self.host(),
                        next,
                    });
                }
            };
        }
        Err(RegistryError::Pages {
            what,
            host: self.host(),
            pages: MAX_PAGES,
            entries: MAX_ENTRIES,
        })
    }

    /// Whether the registry itself answers as those do that know no such API: some with a page for people, as they do for
    /// all that they do not know.
    async fn is_without_api(&self, response: &Response) -> Result<bool, RegistryError> {
        if response.status().is_success() {
            return Ok(!is_index(response.headers()));
        }
        let is_registrys = self.is_own_answer(response).await?
            && self.connection().await?.answering_proxy(response).is_none();
        Ok(is_registrys
            && matches!(
                response.status(),
                StatusCode::NOT_FOUND
                    | StatusCode::BAD_REQUEST
                    | StatusCode::METHOD_NOT_ALLOWED
                    | StatusCode::NOT_ACCEPTABLE
                    | StatusCode::NOT_IMPLEMENTED
            ))
    }

    async fn referrers_by_tag(
        &self,
        what: &Subject,
        digest: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let tag = digest.referrers_tag();
        match self.get(what, &format!("manifests/{tag}"), None).await {
            Ok(response) => self.read_list(what, response).await.map(Some),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read_list(
        &self,
        what: &Subject,
        response: Response,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let host = authority(response.url());
        let read = self.read_as(what, response, MAX_MANIFEST_SIZE, ImageIndex::parse);
        let index = read.await?.map_err(|source| RegistryError::List {
            what: what.clone(),
            host,
            source,
        })?;
        Ok(index.manifests.iter().map(Descriptor::bare).collect())
    }
}

/// Whether a URL is of the same host as one with TLS, and without.
fn is_in_clear(next: &Url, first: &Url) -> bool {
    (next.scheme(), first.scheme()) == ("http", "https") && next.host() == first.host()
}

fn is_index(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|name| MediaType::new(name).kind() == Kind::Index)
}

/// The target of the link to the next page (RFC 8288), not yet resolved.
fn next_page(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::LINK).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| parts(value, ','))
        .filter_map(|link| link.trim().strip_prefix('<')?.split_once('>'))
        .find(|(_, parameters)| parts(parameters, ';').into_iter().any(is_next))
        .map(|(target, _)| target)
}

/// Whether a parameter of a link says that it leads to the next page.
fn is_next(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        let value = value.trim().trim_matches('"');
        let mut relations = value.split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

/// What stands between separators that are in no URL and in no quoted string.
fn parts(text: &str, separator: char) -> Vec<&str> {
    let mut end = None;
    let mut is_escaped = false;
    let separates = |c: char| {
        let was_escaped = std::mem::replace(&mut is_escaped, false);
        match (end, c) {
            (None, '"') => end = Some('"'),
            (None, '<') => end = Some('>'),
            (Some('"'), '\\') => is_escaped = !was_escaped,
            (Some(closing), c) if c == closing && !was_escaped => end = None,
            _ => {}
        }
        end.is_none() && c == separator
    };
    text.split(separates).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page_among_links() {
        let next = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::LINK, value.parse().unwrap());
            next_page(&headers).map(str::to_owned)
        };
        let page = Some("/v2/a/referrers/x?last=1,2".to_owned());
        for value in [
            r#"</v2/a/referrers/x?last=1,2>; rel="next""#,
            "</v2/a/referrers/x?last=1,2>;rel=next",
            r#"</a>; title="<b>, \"; rel=prev", </v2/a/referrers/x?last=1,2>; rel=next"#,
            r#"</v2/a/referrers/x?last=1,2>; REL = "last Next""#,
            r#"</help>; rel="help", </v2/a/referrers/x?last=1,2>; title=a; rel="next", </>; rel="up""#,
        ] {
            assert_eq!(next(value), page, "{value}");
        }
        for value in [
            "",
            "/next; rel=next",
            "</next; rel=next",
            r#"</>; rel="prev""#,
            r#"</>; title="x; rel=next"; rel="prev""#,
            r#"</>; title="\\\"; rel=next, </>; rel=next"; rel="prev""#,
        ] {
            assert_eq!(next(value), None, "{value}");
        }
    }
}
