//! Tokens (the distribution's token specification, and its `OAuth2` flow for identity tokens).

use std::collections::BTreeMap;

use reqwest::{RequestBuilder, Response, StatusCode, Url, header};
use serde_json::value::RawValue;

use crate::oci::reference::Repository;
use crate::text::shown;

use super::body::authority;
use super::error::{NoObject, TokenError};
use super::local::is_loopback;
use super::request::{MAX_SMALL, Refusal};
use super::shown::shown_url;
use super::{Client, Credential, Intent, RegistryError, Retry, Subject, redirect};

/// Redirects of a token service within itself.
const MAX_REDIRECTS: usize = 10;

/// What a registry wants a token for.
pub(super) struct Asked<'a> {
    pub(super) realm: Url,
    pub(super) service: Option<&'a str>,
    pub(super) scopes: &'a [String],
}

impl Client {
    /// The URL of a token service that a registry names.
    pub(super) async fn token_service(&self, realm: &str) -> Result<Url, RegistryError> {
        let Some(mut url) = Url::parse(realm).ok().filter(is_service) else {
            return Err(RegistryError::Realm {
                what: Subject::Token,
                host: self.host(),
                realm: shown_url(realm),
            });
        };
        url.set_fragment(None);
        let connection = self.connection().await?;
        // Where it leads says more than how.
        if !connection.guard.permits(&url).await {
            return Err(self.local(&Subject::Token, &url));
        }
        // Who shows itself by TLS has nobody shown a login without, whatever the user permits elsewhere.
        if url.scheme() != "https" && connection.base.scheme() == "https" {
            return Err(RegistryError::Location {
                what: Subject::Token,
                host: self.host(),
                url: shown_url(realm),
            });
        }
        // A registry that is not on this machine is spoken to in clear because the user wants that.
        let may_be_plain = !is_loopback(&connection.base)
            || is_loopback(&url)
            || connection.guard.may_be_plain(&url);
        if url.scheme() != "https" && !may_be_plain {
            return Err(RegistryError::Url {
                what: Subject::Token,
                url: shown_url(realm),
            });
        }
        Ok(url)
    }

    /// A token for what is to be done here and what the challenge says.
    pub(super) async fn token(
        &self,
        asked: &Asked<'_>,
        credential: Option<&Credential>,
    ) -> Result<String, RegistryError> {
        let (all, fewer) = scope_sets(&self.scopes(), asked.scopes);
        let mut token = self.token_of(asked, &all, credential).await;
        for scopes in fewer {
            // Some refuse all when one of the repositories may not be read.
            let Err(RegistryError::Token { .. }) = token else {
                break;
            };
            token = self.token_of(asked, &scopes, credential).await;
        }
        token
    }

    /// What is to be done here ("scope"), and in other repositories after that.
    fn scopes(&self) -> Vec<String> {
        let scope = |repository: &Repository, actions: &str| {
            format!("repository:{}:{actions}", repository.path())
        };
        let repository = &self.repository;
        match &self.purpose {
            Intent::Pull => vec![scope(repository, "pull")],
            Intent::Push(sources) => std::iter::once(scope(repository, "pull,push"))
                .chain(sources.iter().map(|source| scope(source, "pull")))
                .collect(),
        }
    }

    async fn token_of(
        &self,
        asked: &Asked<'_>,
        scopes: &[String],
        credential: Option<&Credential>,
    ) -> Result<String, RegistryError> {
        let http = self.connection().await?.requests(&asked.realm).await?;
        let response = if let Some(Credential::IdentityToken { token, .. }) = credential {
            let mut form = vec![
                ("grant_type", "refresh_token".to_owned()),
                ("client_id", "oci-pull-all".to_owned()),
                ("refresh_token", token.clone()),
                ("scope", scopes.join(" ")),
            ];
            form.extend(asked.service.map(|service| ("service", service.to_owned())));
            let request = http.post(asked.realm.clone()).form(&form);
            self.send_for_token(request).await?
        } else {
            let service = asked.service.map(|service| ("service", service));
            let scopes = scopes.iter().map(|scope| ("scope", scope.as_str()));
            let query: Vec<_> = service.into_iter().chain(scopes).collect();
            let get = |url: Url| {
                let request = http.get(url).query(&query);
                match credential {
                    Some(Credential::Password { user, password }) => {
                        request.basic_auth(user, Some(password))
                    }
                    _ => request,
                }
            };
            self.get_token(&asked.realm, get).await?
        };
        self.read_token(response, credential.is_some()).await
    }

    /// Follows redirects as far as they stay with the token service.
    async fn get_token(
        &self,
        realm: &Url,
        get: impl Fn(Url) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let mut url = realm.clone();
        let mut response = self.send_for_token(get(url.clone())).await?;
        for _ in 0..MAX_REDIRECTS {
            let Some(mut next) = redirect::location(&response) else {
                break;
            };
            if next.origin() != realm.origin() || !is_service(&next) {
                break;
            }
            // The query is added to it again.
            if next.query() == response.url().query() {
                next.set_query(realm.query());
            }
            url = next;
            response = self.send_for_token(get(url.clone())).await?;
        }
        Ok(response)
    }

    async fn send_for_token(&self, request: RequestBuilder) -> Result<Response, RegistryError> {
        let what = Subject::Token;
        let (http, request) = what.read(None, request).build_split();
        let request = request.map_err(|source| self.transport(&what, source))?;
        self.exchange(&what, &http, request, self.host()).await
    }

    #[expect(clippy::disallowed_methods, reason = "it is no document of an image")]
    async fn read_token(
        &self,
        response: Response,
        was_shown: bool,
    ) -> Result<String, RegistryError> {
        let host = authority(response.url());
        if let Some(location) = redirect::location(&response) {
            let fault = if location.origin() == response.url().origin() {
                let limit = MAX_REDIRECTS;
                TokenError::Redirects { host, limit }
            } else {
                let location = location.origin().ascii_serialization();
                TokenError::Redirect { host, location }
            };
            return Err(self.no_token(was_shown, fault));
        }
        if !response.status().is_success() {
            let what = Subject::Token;
            let Refusal {
                host,
                status,
                detail,
                retry,
                ..
            } = self.refusal(&what, response).await;
            // A network's answer is none of the token service's.
            if retry != Retry::Never || status.is_of_network() {
                return Err(RegistryError::Status {
                    what,
                    host,
                    status,
                    detail,
                    retry,
                });
            }
            let refused = TokenError::Refused {
                host,
                status,
                detail,
            };
            return Err(self.no_token(was_shown, refused));
        }
        let media_type = response.headers().get(header::CONTENT_TYPE).cloned();
        let parse = |body: &[u8]| {
            // Of what nobody reads, only the form has to be right.
            let parsed = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(body);
            parsed.map_err(|error| match NoObject::unread(body, &error) {
                // It may be a token all the same.
                NoObject::NoJson(_) => {
                    let media_type = media_type.as_ref().and_then(|of| of.to_str().ok());
                    let media_type = shown(media_type.unwrap_or("of no media type"));
                    NoObject::NoJson(format!(" ({media_type}, {} bytes)", body.len()))
                }
                fault => fault,
            })
        };
        let read = self.read_as(&Subject::Token, response, MAX_SMALL, parse);
        let answer = match read.await? {
            Ok(answer) => answer,
            Err(fault) => {
                return Err(self.no_token(was_shown, TokenError::NoObject { host, fault }));
            }
        };
        // Either may be there, or both, or one that is empty.
        let token = ["token", "access_token"].iter().find_map(|key| {
            let token: String = serde_json::from_str(answer.get(*key)?.get()).ok()?;
            let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
            is_token.then_some(token)
        });
        token.ok_or_else(|| self.no_token(was_shown, TokenError::Missing(host)))
    }

    fn no_token(&self, shown: bool, source: TokenError) -> RegistryError {
        RegistryError::Token {
            host: self.host(),
            repository: self.repository.path().to_owned(),
            advice: if source.is_about_login() {
                self.advice(StatusCode::UNAUTHORIZED, shown, shown, "")
            } else {
                "no login helps: it is the token service that has to be mended".to_owned()
            },
            source: Box::new(source),
        }
    }
}

/// Whether a URL may be that of a token service: what it has of a login would be shown to it.
fn is_service(url: &Url) -> bool {
    redirect::is_http(url) && url.username().is_empty() && url.password().is_none()
}

/// The scopes to ask for: all, and the sets of fewer that are tried in turn where those are refused, namely those
/// of this repository and what the challenge says, and what the challenge says alone.
fn scope_sets(own: &[String], challenge: &[String]) -> (Vec<String>, Vec<Vec<String>>) {
    let more: Vec<_> = challenge
        .iter()
        .filter(|scope| !own.iter().any(|own| covers(own, scope)))
        .cloned()
        .collect();
    let with_more = |own: &[String]| [own, more.as_slice()].concat();
    let all = with_more(own);
    let mut fewer = vec![with_more(&own[..1])];
    if !more.is_empty() {
        fewer.push(challenge.to_vec());
    }
    fewer.retain(|scopes| *scopes != all);
    fewer.dedup();
    (all, fewer)
}

/// Whether a scope permits what another one does.
fn covers(scope: &str, other: &str) -> bool {
    match (scope.rsplit_once(':'), other.rsplit_once(':')) {
        (Some((resource, actions)), Some((other, wanted))) => {
            let permits = |action: &str| actions.split(',').any(|permitted| permitted == action);
            resource == other && wanted.split(',').all(permits)
        }
        _ => scope == other,
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    #[test]
    fn scopes_are_asked_for_together_and_then_fewer() {
        let sets = |own: &[&str], challenge: &[&str]| {
            let owned = |scopes: &[&str]| -> Vec<String> {
                scopes.iter().map(|&scope| scope.to_owned()).collect()
            };
            let (all, fewer) = scope_sets(&owned(own), &owned(challenge));
            let sets = iter::once(all).chain(fewer);
            sets.map(|scopes| scopes.join(" ")).collect::<Vec<_>>()
        };
        let (pull, push) = ("repository:a:pull", "repository:a:pull,push");
        assert_eq!(sets(&[pull], &[]), [pull]);
        assert_eq!(sets(&[pull], &[pull]), [pull]);
        assert_eq!(sets(&[push], &[pull]), [push]);
        let base = "repository:b:pull";
        assert_eq!(
            sets(&[push, base], &[push]),
            [format!("{push} {base}"), push.to_owned()]
        );
        let other = "repository:library/a:pull";
        assert_eq!(
            sets(&[pull], &[other]),
            [format!("{pull} {other}"), other.to_owned()]
        );
    }
}
