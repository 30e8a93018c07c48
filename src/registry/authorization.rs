//! Who is asking, shown as the registry wants it: from the challenge in hand, or from that of `/v2/` where an
//! answer has none.

use oci_client::secrets::RegistryAuth;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use crate::oci::reference::Scheme;
use crate::text::chain;

use super::challenge::{Challenge, Challenges};
use super::connection::Connection;
use super::retry::tries_of_many;
use super::secrets::Secrets;
use super::token::Asked;
use super::{Backoff, Client, Credential, RegistryError, Retry, Subject, redirect};

/// How often one request is authorized anew: a challenge may tell more than the one before.
const MAX_AUTHORIZATIONS: usize = 2;
/// How often `/v2/` is asked until it answers.
const MAX_SUPPORT_ATTEMPTS: u32 = 4;

/// What is known of how a registry is to be asked.
#[derive(Debug)]
pub(super) struct Authorization {
    /// Grows with each renewal.
    generation: u64,
    auth: RegistryAuth,
    /// Whether there is a credential, if that was looked up.
    held: Option<bool>,
    /// The credential that was looked up for that alone: to ask a helper may take long.
    found: Option<Credential>,
    /// Whether the credential was shown to the registry or to its token service.
    shown: bool,
    /// What the token service was too busy to give: who asks next waits for it.
    owed: Option<Owed>,
    /// What `/v2/` asks for, if it was asked.
    support: Option<Challenges>,
    /// What was asked for and could not be met.
    unmet: String,
    /// Why what somebody who forbids asked for was not to be had.
    refusal: Option<String>,
    /// Whether a credential could meet it.
    understood: bool,
}

/// What an answer of a status asked for, and how often the token service was too busy to give that.
#[derive(Clone, Debug)]
struct Owed {
    challenges: Challenges,
    status: StatusCode,
    failures: u32,
}

impl Default for Authorization {
    fn default() -> Self {
        Authorization {
            generation: 0,
            auth: RegistryAuth::Anonymous,
            held: None,
            found: None,
            shown: false,
            owed: None,
            support: None,
            unmet: String::new(),
            refusal: None,
            understood: true,
        }
    }
}

impl Client {
    /// A request to the registry itself, authorized as need be. The answer may be an error.
    pub(super) async fn ask_url(
        &self,
        what: &Subject,
        method: Method,
        url: Url,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let http = self.connection().await?.requests(&url).await?;
        let request = || shape(http.request(method.clone(), url.clone()));
        let (mut generation, mut auth) = self.authorization().await?;
        let mut met: Option<Challenges> = None;
        for _ in 0..MAX_AUTHORIZATIONS {
            let response = self.send(what, request(), &auth).await?;
            if !self.is_own_answer(&response).await? {
                return Ok(response);
            }
            let Some(challenges) = self.challenges(&response, &auth).await? else {
                return Ok(response);
            };
            if met.as_ref() == Some(&challenges) {
                return Ok(response);
            }
            let status = response.status();
            match self.answer(generation, &challenges, status).await? {
                Some(renewed) => (generation, auth) = renewed,
                None => return Ok(response),
            }
            met = Some(challenges);
        }
        self.send(what, request(), &auth).await
    }

    /// How the registry is asked now, and which renewal that is.
    pub(super) async fn authorization(&self) -> Result<(u64, RegistryAuth), RegistryError> {
        let (now, owed) = {
            let known = self.authorization.lock().await;
            ((known.generation, known.auth.clone()), known.owed.clone())
        };
        Ok(match owed {
            Some(owed) => {
                let met = self.answer(now.0, &owed.challenges, owed.status).await?;
                met.unwrap_or(now)
            }
            None => now,
        })
    }

    /// As [`Client::authorize`]. Who forbids says itself why; what was not to be had is told with it.
    pub(super) async fn answer(
        &self,
        generation: u64,
        challenges: &Challenges,
        status: StatusCode,
    ) -> Result<Option<(u64, RegistryAuth)>, RegistryError> {
        match self.authorize(generation, challenges, status).await {
            Err(error) if status == StatusCode::FORBIDDEN && !error.is_transient() => {
                self.authorization.lock().await.refusal = Some(chain(&error));
                Ok(None)
            }
            met => met,
        }
    }

    /// What an answer asks for, if it may be that another one is to be had by showing more.
    pub(super) async fn challenges(
        &self,
        response: &Response,
        auth: &RegistryAuth,
    ) -> Result<Option<Challenges>, RegistryError> {
        let status = response.status();
        let refuses = status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN;
        if !refuses && status != StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let own = Challenges::of(response.headers(), &Secrets::of_answer(response));
        if refuses && !own.is_empty() {
            return Ok(Some(own));
        }
        // Some hide what one may not see, and some do not say how to be asked.
        let is_bare = status == StatusCode::UNAUTHORIZED;
        if !is_bare && (*auth != RegistryAuth::Anonymous || !self.holds_credential().await?) {
            return Ok(None);
        }
        let support = self.support().await?;
        Ok(if !support.is_empty() {
            Some(support)
        } else if is_bare {
            Some(Challenges::basic())
        } else {
            None
        })
    }

    /// What the registry's `/v2/` asks for; nothing if it does not answer. It is asked once.
    async fn support(&self) -> Result<Challenges, RegistryError> {
        let mut known = self.authorization.lock().await;
        if let Some(support) = &known.support {
            return Ok(support.clone());
        }
        let (what, url) = (Subject::Support, self.base().await?);
        let http = self.connection().await?.requests(&url).await?;
        let mut backoff = Backoff::default();
        let support = loop {
            let request = what.read(None, http.get(url.clone()));
            let retry = match self.send(&what, request, &RegistryAuth::Anonymous).await {
                Ok(answer) if redirect::is_elsewhere(&answer) => Retry::Never,
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED => {
                    break Challenges::of(answer.headers(), &Secrets::of_answer(&answer));
                }
                Ok(answer) => Retry::of(answer.status(), answer.headers()),
                Err(error) if error.silence().is_some() => Retry::Never,
                Err(error) => error.retry(),
            };
            match backoff.after_failure(retry, MAX_SUPPORT_ATTEMPTS) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => break Challenges::default(),
            }
        };
        known.support = Some(support.clone());
        Ok(support)
    }

    /// What the user has for the repository.
    async fn credential(&self) -> Result<Option<Credential>, RegistryError> {
        let scheme = match self.base().await?.scheme() {
            "http" => Scheme::Http,
            _ => Scheme::Https,
        };
        let keychain = &self.options.keychain;
        Ok(keychain.find(&self.repository, scheme).await?)
    }

    /// Whether there is a login that is not shown, because it is filed for TLS, which is not spoken.
    fn withholds_login(&self) -> bool {
        let is_plain = |connection: &Connection| connection.base.scheme() == "http";
        self.connection.get().is_some_and(is_plain)
            && self.options.keychain.has_for_tls(&self.repository)
    }

    async fn holds_credential(&self) -> Result<bool, RegistryError> {
        let mut known = self.authorization.lock().await;
        if let Some(held) = known.held {
            return Ok(held);
        }
        known.found = self.credential().await?;
        let held = known.found.is_some();
        known.held = Some(held);
        Ok(held)
    }

    /// Meets the strongest of `challenges`, which an answer of this status has, that can be met, unless another request has done
    /// so since `generation`. `None` when there is nothing to offer.
    async fn authorize(
        &self,
        generation: u64,
        challenges: &Challenges,
        status: StatusCode,
    ) -> Result<Option<(u64, RegistryAuth)>, RegistryError> {
        let mut known = self.authorization.lock().await;
        if known.generation != generation {
            return Ok(Some((known.generation, known.auth.clone())));
        }
        let owed = known.owed.take();
        let before = owed.filter(|owed| owed.challenges == *challenges);
        let failures = before.map_or(0, |owed| owed.failures) + 1;
        known.refusal = None;
        let credential = match known.found.take() {
            // It may be another one by now.
            None if known.held != Some(false) => self.credential().await?,
            found => found,
        };
        known.held = Some(credential.is_some());
        let mut refused: Option<RegistryError> = None;
        for challenge in &challenges.usable {
            let met = match self.meet(challenge, credential.as_ref()).await {
                // A weaker one may need no token service, or another one: it is tried before this one is given up.
                Err(error) => {
                    let is_waited_for = error.is_transient() && failures < tries_of_many(&error);
                    if error.is_transient() || refused.is_none() {
                        refused = Some(error);
                    }
                    if is_waited_for {
                        break;
                    }
                    continue;
                }
                Ok(met) => met,
            };
            if let Some(auth) = met {
                known.generation += 1;
                known.auth = auth.clone();
                known.shown = credential.is_some();
                known.unmet.clear();
                return Ok(Some((known.generation, auth)));
            }
        }
        if let Some(error) = refused {
            if error.is_transient() {
                known.owed = Some(Owed {
                    challenges: challenges.clone(),
                    status,
                    failures,
                });
            }
            known.shown |= credential.is_some() && matches!(error, RegistryError::Token { .. });
            return Err(error);
        }
        known.unmet.clone_from(&challenges.text);
        known.understood = !challenges.usable.is_empty();
        Ok(None)
    }

    async fn meet(
        &self,
        challenge: &Challenge,
        credential: Option<&Credential>,
    ) -> Result<Option<RegistryAuth>, RegistryError> {
        Ok(match (challenge, credential) {
            (
                Challenge::Basic,
                Some(
                    Credential::Password { user, password }
                    | Credential::IdentityToken {
                        login: Some((user, password)),
                        ..
                    },
                ),
            ) => Some(RegistryAuth::Basic(user.clone(), password.clone())),
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { .. }, Some(Credential::RegistryToken(token))) => {
                Some(RegistryAuth::Bearer(token.clone()))
            }
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scopes,
                },
                credential,
            ) => {
                let asked = Asked {
                    realm: self.token_service(realm).await?,
                    service: service.as_deref(),
                    scopes,
                };
                Some(RegistryAuth::Bearer(self.token(&asked, credential).await?))
            }
        })
    }

    /// What to do about a refusal.
    pub(super) async fn login_advice(&self, status: StatusCode) -> Result<String, RegistryError> {
        let refusal = self.authorization.lock().await.refusal.clone();
        if let Some(refusal) = refusal
            && status == StatusCode::FORBIDDEN
        {
            return Ok(format!("what it asks for is not to be had: {refusal}"));
        }
        let held = self.holds_credential().await?;
        let known = self.authorization.lock().await;
        if !held && !known.understood {
            return Ok(format!(
                "what it asks for is not understood here ({}), and no credentials were found for {}",
                known.unmet,
                self.repository.registry()
            ));
        }
        Ok(self.advice(status, held, known.shown, &known.unmet))
    }

    /// What to do about a refusal, where a credential is held or not, and was shown or not.
    pub(super) fn advice(
        &self,
        status: StatusCode,
        held: bool,
        shown: bool,
        unmet: &str,
    ) -> String {
        let registry = self.repository.registry();
        let repository = self.repository.path();
        if !held && self.withholds_login() {
            return format!(
                "the login for https://{registry} is shown with TLS alone, and {registry} is spoken to without: speak TLS with it, or file the login under {registry} without https://"
            );
        }
        if !held {
            return format!(
                "no credentials were found for {registry}: log in with `docker login {registry}`, or check the repository's name"
            );
        }
        if !shown {
            return match unmet {
                "" => format!(
                    "the credentials found for {registry} were not shown, because it does not ask for any: check the repository's name"
                ),
                unmet => format!(
                    "the credentials found for {registry} were not shown, because they do not serve for what it asks for ({unmet})"
                ),
            };
        }
        if status == StatusCode::FORBIDDEN {
            format!(
                "the credentials found for {registry} do not permit this in {repository}: ask its owner for the right, or log in as another user with `docker login {registry}`"
            )
        } else {
            format!(
                "the credentials found for {registry} do not serve for {repository}: log in again with `docker login {registry}`, or check the repository's name"
            )
        }
    }
}

/// A request that shows who is asking.
pub(super) fn authorized(request: RequestBuilder, auth: &RegistryAuth) -> RequestBuilder {
    match auth {
        RegistryAuth::Anonymous => request,
        RegistryAuth::Basic(user, password) => request.basic_auth(user, Some(password)),
        RegistryAuth::Bearer(token) => request.bearer_auth(token),
    }
}
