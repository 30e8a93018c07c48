//! What every request has: a URL below the registry's `/v2/`, an answer that may be an error, and limits.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::ops::Range;
use std::sync::{MutexGuard, PoisonError};

use flate2::read::MultiGzDecoder;
use oci_client::errors::OciErrorCode;
use oci_client::secrets::RegistryAuth;
use reqwest::header;
use reqwest::{Method, Request, RequestBuilder, Response, StatusCode, Url};

use super::authorization::authorized;
use super::body::authority;
use super::connection::Connection;
use super::error::ErrorBody;
use super::no_answer::{Asked, AskedProxy, leads_to_local};
use super::secrets::Secrets;
use super::shown::shown_url;
use super::{Client, HttpStatus, NoAnswer, RegistryError, Retry, Subject, redirect};

/// What is read of a token or of an error's body, in bytes.
pub(super) const MAX_SMALL: u64 = 1 << 20;
const MAX_REDIRECTS: usize = 10;
/// How many times the longest silence what is small may take in all.
const MAX_SILENCES: u32 = 4;

/// An answer that is an error.
pub(super) struct Refusal {
    /// Who gave it.
    pub(super) host: String,
    pub(super) status: HttpStatus,
    /// What it says, with a separator before it, or nothing.
    pub(super) detail: String,
    /// The same in the words of the distribution spec ("Error Codes").
    codes: Vec<OciErrorCode>,
    /// Whether it says that TLS is spoken there.
    wants_tls: bool,
    pub(super) retry: Retry,
}

impl Client {
    /// Made when it is first needed.
    pub(super) async fn connection(&self) -> Result<&Connection, RegistryError> {
        let connect = || Connection::to(self.repository.registry(), &self.options);
        self.connection.get_or_try_init(connect).await
    }

    /// A GET below `/v2/REPOSITORY/`, authorized as need be.
    pub(super) async fn get(
        &self,
        what: &Subject,
        path: &str,
        range: Option<&Range<u64>>,
    ) -> Result<Response, RegistryError> {
        let url = self.url(what, path).await?;
        self.get_url(what, url, range).await
    }

    /// A GET of the registry itself, authorized as need be.
    pub(super) async fn get_url(
        &self,
        what: &Subject,
        url: Url,
        range: Option<&Range<u64>>,
    ) -> Result<Response, RegistryError> {
        let shape = |request| what.read(range, request);
        let response = self.ask_url(what, Method::GET, url, shape).await?;
        self.accept(what, response).await
    }

    /// A request below `/v2/REPOSITORY/`, authorized as need be. The answer may be an error.
    pub(super) async fn ask(
        &self,
        what: &Subject,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let url = self.url(what, path).await?;
        self.ask_url(what, method, url, shape).await
    }

    /// A URL below `/v2/REPOSITORY/`.
    pub(super) async fn url(&self, what: &Subject, path: &str) -> Result<Url, RegistryError> {
        let base = self.base().await?;
        let path = format!("{}/{path}", self.repository.path());
        base.join(&path).map_err(|_| RegistryError::Url {
            what: what.clone(),
            url: path,
        })
    }

    /// The registry's `/v2/`.
    pub(super) async fn base(&self) -> Result<Url, RegistryError> {
        Ok(self.connection().await?.base.clone())
    }

    /// Whether who answers is the registry, asked as who may be shown a login: not where a redirect leads, be it back to
    /// the registry, nor at a URL that others name.
    pub(super) async fn is_own_answer(&self, response: &Response) -> Result<bool, RegistryError> {
        Ok(!redirect::is_elsewhere(response) && self.is_own(response.url()).await?)
    }

    /// Whether a URL is of the registry itself, and not of where it leads to.
    pub(super) async fn is_own(&self, url: &Url) -> Result<bool, RegistryError> {
        Ok(url.origin() == self.base().await?.origin())
    }

    /// A request, and what it is redirected to. What cannot be sent twice is not.
    pub(super) async fn send(
        &self,
        what: &Subject,
        request: RequestBuilder,
        auth: &RegistryAuth,
    ) -> Result<Response, RegistryError> {
        let (first, request) = authorized(request, auth).build_split();
        let mut request = request.map_err(|source| self.transport(what, source))?;
        let connection = self.connection().await?;
        let mut is_own =
            !matches!(what, Subject::ForeignBlob(_)) && self.is_own(request.url()).await?;
        let mut http = &first;
        let mut named_by = self.names(what);
        let mut way = self.host();
        for _ in 0..=MAX_REDIRECTS {
            let again = request.try_clone();
            let response = self.exchange(what, http, request, named_by).await?;
            let Some(next) = again.and_then(|sent| redirect::elsewhere(sent, &response)) else {
                return Ok(if is_own {
                    response
                } else {
                    redirect::led_elsewhere(response)
                });
            };
            is_own &= next.url().origin() == response.url().origin();
            named_by = authority(response.url());
            way = self.way(response.url());
            if response.url().scheme() == "https" && next.url().scheme() != "https" {
                return Err(RegistryError::Unencrypted {
                    what: what.clone(),
                    host: named_by,
                });
            }
            if !connection.guard.permits(next.url()).await {
                return Err(self.local(what, next.url()));
            }
            http = connection.requests(next.url()).await?;
            request = next;
        }
        Err(RegistryError::Redirects {
            what: what.clone(),
            way,
            limit: MAX_REDIRECTS,
        })
    }

    /// One request, to a URL that somebody has named, and its answer.
    pub(super) async fn exchange(
        &self,
        what: &Subject,
        http: &reqwest::Client,
        request: Request,
        named_by: String,
    ) -> Result<Response, RegistryError> {
        let secrets = Secrets::of(&request, self.options.proxies.of(request.url()));
        match http.execute(request).await {
            Ok(mut response) => {
                response.extensions_mut().insert(secrets);
                self.answered().insert(authority(response.url()));
                Ok(response)
            }
            Err(source) => {
                let connection = self.connection().await?;
                let is_own = |url: &Url| url.origin() == connection.base.origin();
                let named_by = Some(named_by).filter(|_| !source.url().is_some_and(is_own));
                let speaks_tls = connection.speaks_tls_instead(&source).await;
                Err(self.no_answer(what, source, named_by, speaks_tls))
            }
        }
    }

    fn answered(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns an answer that is an error into one.
    pub(super) async fn accept(
        &self,
        what: &Subject,
        response: Response,
    ) -> Result<Response, RegistryError> {
        let code = response.status();
        if code.is_success() {
            return Ok(response);
        }
        // What another host refuses, no login at the registry permits.
        let (asked, answers) = (self.base().await?.origin(), response.url().origin());
        let is_own = self.is_own_answer(&response).await?;
        let is_plain = code == StatusCode::BAD_REQUEST && self.options.is_plain(response.url());
        // What a blob or an upload is stored at is none.
        let is_registry = response.url().path().starts_with("/v2/");
        let proxy = self.connection().await?.answering_proxy(&response);
        let Refusal {
            host,
            status,
            detail,
            codes,
            wants_tls,
            retry,
        } = self.refusal(what, response).await;
        let is_upload = matches!(what, Subject::Upload(_));
        // The others are of the upload, or of nothing that the spec has, such as Distribution's of another server's state.
        let is_repository = codes.contains(&OciErrorCode::NameUnknown);
        let what = what.clone();
        Err(if let Some(proxy) = proxy {
            RegistryError::Proxy {
                what,
                way: through(&host, &proxy),
                status,
                detail,
                retry,
            }
        } else if is_plain && wants_tls {
            RegistryError::Plain {
                what,
                host,
                status,
                detail,
            }
        } else if is_upload && code == StatusCode::NOT_FOUND && !is_repository {
            RegistryError::UploadGone { what, host, detail }
        } else if is_own && code == StatusCode::NOT_FOUND {
            RegistryError::NotFound {
                what,
                host,
                repository: self.repository.path().to_owned(),
                detail,
                may_be_repository: is_repository || !codes.iter().any(is_of_content),
            }
        } else if is_own && matches!(code, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            RegistryError::Access {
                what,
                host,
                status,
                detail,
                advice: {
                    let advice = self.login_advice(code).await?;
                    if codes.is_empty() || codes.iter().any(is_of_access) {
                        advice
                    } else {
                        format!("if that is about who asks: {advice}")
                    }
                },
            }
        } else if code == StatusCode::UNAUTHORIZED
            && is_registry
            // No redirect leads there.
            && !is_upload
            && !matches!(what, Subject::ForeignBlob(_))
        {
            RegistryError::AccessElsewhere {
                what,
                from: asked.ascii_serialization(),
                to: answers.ascii_serialization(),
                status,
                detail,
            }
        } else {
            RegistryError::Status {
                what,
                host,
                status,
                detail,
                retry,
            }
        })
    }

    /// What an answer that is an error says, whoever gave it.
    pub(super) async fn refusal(&self, what: &Subject, response: Response) -> Refusal {
        let status = response.status();
        let host = authority(response.url());
        let is_own = self.is_own_answer(&response).await.unwrap_or(false);
        let retry = Retry::of(status, response.headers());
        let lost = redirect::lost(&response);
        let secrets = Secrets::of_answer(&response);
        let mut body = Vec::new();
        // What came of it may say enough.
        let _ = self.read_into(&mut body, what, response, MAX_SMALL).await;
        // What a token service sends may be a token, in whatever form. What a network says is of a login to it.
        let body = match what {
            Subject::Token if status != StatusCode::NETWORK_AUTHENTICATION_REQUIRED => {
                ErrorBody::of_object(&body, &secrets)
            }
            _ => ErrorBody::of(&body, &secrets),
        };
        let wants_tls = body.wants_tls();
        let ErrorBody { codes, mut detail } = body;
        let limits_rate = status == StatusCode::TOO_MANY_REQUESTS;
        let wait = match retry {
            Retry::After(time) if !time.is_zero() => {
                Some(format!("; wait {} s, as it asks", time.as_secs()))
            }
            _ => limits_rate.then(|| "; wait".to_owned()),
        };
        detail.extend(lost.into_iter().chain(wait));
        if limits_rate && is_own {
            let login = format!(
                ", or log in with `docker login {}` if you are not",
                self.host()
            );
            detail.push_str(&login);
        }
        Refusal {
            host,
            status: HttpStatus(status),
            detail,
            codes,
            wants_tls,
            retry,
        }
    }

    /// Reads what is small, and tells itself whether it is whole, however long it was said to be.
    pub(super) async fn read_as<T, E>(
        &self,
        what: &Subject,
        response: Response,
        limit: u64,
        parse: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<Result<T, E>, RegistryError> {
        let mut bytes = Vec::new();
        let read = self.read_into(&mut bytes, what, response, limit).await;
        let parsed = parse(&bytes);
        if parsed.is_err() {
            read?;
        }
        Ok(parsed)
    }

    /// Reads what is small, in a time that is limited too. What came before an error is in `bytes`, where it may be all
    /// that there is, however long it was said to be.
    pub(super) async fn read_into(
        &self,
        bytes: &mut Vec<u8>,
        what: &Subject,
        response: Response,
        limit: u64,
    ) -> Result<(), RegistryError> {
        let host = authority(response.url());
        let coding = coding(&response);
        let time = self.options.idle_timeout * MAX_SILENCES;
        let read = self.read_slowly(bytes, what, response, limit);
        let read = tokio::time::timeout(time, read).await;
        let what_and_host = || (what.clone(), host.clone());
        let decoded = match coding {
            None => Ok(()),
            Some(coding) if ["gzip", "x-gzip"].contains(&&*coding) => {
                let decompressed = decompress(bytes, limit);
                decompressed.map_err(|error| match (error.kind(), what_and_host()) {
                    (io::ErrorKind::FileTooLarge, (what, host)) => {
                        RegistryError::TooLarge { what, host, limit }
                    }
                    (_, (what, host)) => RegistryError::Damaged { what, host, coding },
                })
            }
            Some(coding) => {
                let (what, host) = what_and_host();
                Err(RegistryError::Coding { what, host, coding })
            }
        };
        match read {
            Ok(Ok(())) => decoded,
            Ok(read) => read,
            Err(_) => Err(RegistryError::Slow {
                what: what.clone(),
                host,
                seconds: time.as_secs(),
            }),
        }
    }

    async fn read_slowly(
        &self,
        bytes: &mut Vec<u8>,
        what: &Subject,
        mut response: Response,
        limit: u64,
    ) -> Result<(), RegistryError> {
        let too_large = RegistryError::TooLarge {
            what: what.clone(),
            host: authority(response.url()),
            limit,
        };
        if response.content_length().unwrap_or(0) > limit {
            return Err(too_large);
        }
        let url = response.url().clone();
        loop {
            let chunk = response.chunk().await;
            match chunk.map_err(|source| self.transport(what, source.with_url(url.clone())))? {
                Some(chunk) if (bytes.len() + chunk.len()) as u64 > limit => return Err(too_large),
                Some(chunk) => bytes.extend_from_slice(&chunk),
                None => return Ok(()),
            }
        }
    }

    pub(super) fn host(&self) -> String {
        self.repository.registry().to_string()
    }

    /// Who names the URLs for this, in words.
    pub(super) fn names(&self, what: &Subject) -> String {
        match what {
            Subject::ForeignBlob(_) => "the image".to_owned(),
            _ => self.host(),
        }
    }

    /// Who answers at a URL, and through which proxy if that may have answered itself.
    pub(super) fn way(&self, url: &Url) -> String {
        let host = authority(url);
        match self.options.proxies.forwarding(url) {
            Some(proxy) => through(&host, &proxy),
            None => host,
        }
    }

    pub(super) fn local(&self, what: &Subject, url: &Url) -> RegistryError {
        RegistryError::Local {
            what: what.clone(),
            url: shown_url(url.as_str()),
            registry: self.host(),
        }
    }

    pub(super) fn transport(&self, what: &Subject, source: reqwest::Error) -> RegistryError {
        self.no_answer(what, source, None, false)
    }

    fn no_answer(
        &self,
        what: &Subject,
        source: reqwest::Error,
        named_by: Option<String>,
        speaks_tls: bool,
    ) -> RegistryError {
        let host = source.url().map_or_else(|| self.host(), authority);
        let url = source.url();
        if let Some(url) = url.filter(|_| leads_to_local(&source)) {
            return self.local(what, url);
        }
        let asked = Asked {
            answered: self.answered().contains(&host),
            patience: self.options.idle_timeout,
            proxy: url.map(|url| self.options.proxies.way(url).map(AskedProxy::of)),
            named_by,
            speaks_tls,
        };
        RegistryError::Transport {
            what: what.clone(),
            host,
            why: NoAnswer::new(source, asked),
        }
    }
}

fn through(host: &str, proxy: &str) -> String {
    format!("{host} through the proxy {proxy}")
}

/// Whether it is said that who asks may not.
fn is_of_access(code: &OciErrorCode) -> bool {
    matches!(code, OciErrorCode::Unauthorized | OciErrorCode::Denied)
}

/// Whether it is a manifest or a blob that is said to be missing, and nothing above it.
fn is_of_content(code: &OciErrorCode) -> bool {
    matches!(
        code,
        OciErrorCode::BlobUnknown
            | OciErrorCode::BlobUploadUnknown
            | OciErrorCode::ManifestBlobUnknown
            | OciErrorCode::ManifestUnknown
    )
}

/// How what comes is encoded, if it is, in lower case: case does not matter (RFC 9110, 8.4.1).
pub(super) fn coding(response: &Response) -> Option<String> {
    let lines = response.headers().get_all(header::CONTENT_ENCODING);
    let lines = lines.into_iter();
    let lines: Vec<_> = lines
        .map(|line| String::from_utf8_lossy(line.as_bytes()).to_ascii_lowercase())
        .collect();
    let codings = lines.iter().flat_map(|line| line.split(','));
    let codings = codings.map(str::trim);
    let codings = codings.filter(|coding| !["", "identity"].contains(coding));
    let codings = codings.collect::<Vec<_>>().join(", ");
    let codings = Secrets::of_answer(response).hide(codings);
    Some(codings.into_owned()).filter(|codings| !codings.is_empty())
}

/// Puts what was compressed, and is no longer than `limit` then, in its place (RFC 9110, 8.4.1.3).
fn decompress(bytes: &mut Vec<u8>, limit: u64) -> io::Result<()> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes.as_slice())
        .take(limit + 1)
        .read_to_end(&mut plain)?;
    if plain.len() as u64 > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    *bytes = plain;
    Ok(())
}
