//! Why there was no answer.

use std::error::Error;
use std::fmt;
use std::io;
use std::iter;
use std::time::{Duration, SystemTime};

use reqwest::Url;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

use super::Unproxied;
use super::body::authority;
use super::certificates::UnfitAuthority;
use super::connection::MAX_HEADERS;
use super::local::LeadsToLocal;

/// Names of a certificate that are shown; some have hundreds.
const MAX_NAMES: usize = 5;

/// Why there was no answer: the root of what the HTTP library says.
#[derive(Debug)]
pub struct NoAnswer {
    error: reqwest::Error,
    asked: Box<Asked>,
}

/// Who was asked.
#[derive(Debug)]
pub(super) struct Asked {
    /// Whether they have answered something before.
    pub(super) answered: bool,
    /// How long they may say nothing.
    pub(super) patience: Duration,
    /// The proxy on the way, or why there is none; nothing where it is not known what was asked.
    pub(super) proxy: Option<Result<AskedProxy, Unproxied>>,
    /// Who has named them, in words, if not the user, who may not know them.
    pub(super) named_by: Option<String>,
    /// Whether they were spoken to in clear, and are found to speak TLS.
    pub(super) speaks_tls: bool,
}

/// A proxy that was asked.
#[derive(Debug)]
pub(super) struct AskedProxy {
    host: String,
    has_login: bool,
}

impl AskedProxy {
    pub(super) fn of(url: &Url) -> Self {
        AskedProxy {
            host: authority(url),
            has_login: !url.username().is_empty() || url.password().is_some(),
        }
    }
}

/// What is wrong with the login that a proxy is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyLogin {
    /// There is none.
    Missing,
    /// It is refused.
    Refused,
    /// None of a user and a password is taken.
    Unasked,
}

impl NoAnswer {
    /// The library's error, without its URL: that of a storage service holds a signature.
    pub(super) fn new(error: reqwest::Error, asked: Asked) -> Self {
        NoAnswer {
            error: error.without_url(),
            asked: Box::new(asked),
        }
    }

    /// How long somebody may say nothing who says nothing now.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.error.is_timeout().then_some(self.asked.patience)
    }

    /// Whether nobody is there, and nobody was, or a proxy does not connect to them.
    pub(super) fn is_unreachable(&self) -> bool {
        let is_nobody = || is_nobody(&self.error) || self.failing_proxy().is_some();
        self.is_silent() || !self.asked.answered && is_nobody()
    }

    /// The proxy that does not connect to who was asked, or is not there.
    fn failing_proxy(&self) -> Option<&str> {
        // Behind a tunnel it is who was asked.
        let is_proxys = || causes(&self.error).any(|cause| cause.to_string() == NO_TUNNEL);
        let speaks = || is_of_tls(&self.error) && !is_proxys();
        let Some(Ok(proxy)) = &self.asked.proxy else {
            return None;
        };
        let is_of_way = self.error.is_connect() || self.is_silent();
        (is_of_way && !speaks()).then_some(proxy.host.as_str())
    }

    /// What a proxy does not like of the login that it was shown.
    fn login_at_proxy(&self) -> Option<ProxyLogin> {
        let Some(Ok(AskedProxy { has_login, .. })) = self.asked.proxy else {
            return None;
        };
        let mut causes = causes(&self.error).map(ToString::to_string);
        causes.find_map(|cause| match (&*cause, has_login) {
            (WANTS_LOGIN | NO_METHOD | OTHER_METHOD, false) => Some(ProxyLogin::Missing),
            (WANTS_LOGIN | REFUSES_LOGIN, true) => Some(ProxyLogin::Refused),
            (NO_METHOD, true) => Some(ProxyLogin::Unasked),
            _ => None,
        })
    }

    /// Why there was no proxy on the way.
    fn unproxied(&self) -> Option<Unproxied> {
        self.asked.proxy.as_ref()?.as_ref().err().copied()
    }

    /// Whether nobody says anything, not even that nobody is there, nor has before.
    pub(super) fn is_silent(&self) -> bool {
        !self.asked.answered && self.error.is_timeout()
    }

    /// Whether an answer came, but not all of it.
    pub fn has_begun(&self) -> bool {
        has_begun(&self.error)
    }

    /// Whether it would be the same the next time.
    pub(super) fn is_final(&self) -> bool {
        // A URL that cannot be asked.
        self.error.is_builder()
            || is_of_tls(&self.error) && !is_damaged(&self.error)
            || self.login_at_proxy().is_some()
            || is_no_http(&self.error)
            || self.asked.speaks_tls
    }

    /// What kept the answer from coming, as far as something can be done about it.
    pub fn reason(&self) -> Reason {
        if find(&self.error, is_unknown_issuer) {
            Reason::UnknownAuthority
        } else if find(&self.error, is_unfit_authority) {
            Reason::UnfitAuthority
        } else if find(&self.error, is_refusal) {
            Reason::OwnCertificate
        } else if let Some(login) = self.login_at_proxy() {
            Reason::ProxyLogin(login)
        } else if self.failing_proxy().is_some() {
            Reason::Proxy
        } else if speaks_no_tls(&self.error) {
            if self.asked.named_by.is_none() {
                Reason::NoTls
            } else {
                Reason::NoTlsElsewhere
            }
        } else if find(&self.error, is_no_certificate) {
            Reason::Certificate
        } else if find(&self.error, is_disagreement) {
            Reason::Tls
        } else if self.asked.speaks_tls {
            Reason::Plain
        } else if !self.asked.answered
            && is_no_http(&self.error)
            && !has_too_large_head(&self.error)
        {
            Reason::NoHttp
        } else if self.error.is_connect() || self.is_silent() {
            if self.asked.named_by.is_none() {
                Reason::Connect(self.unproxied())
            } else {
                Reason::ConnectElsewhere(self.unproxied())
            }
        } else {
            Reason::Other
        }
    }
}

/// What kept an answer from coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The host's certificate is signed by an authority that is not known.
    UnknownAuthority,
    /// The host's certificate is signed by one that is trusted, and does not count now.
    UnfitAuthority,
    /// The host refuses the handshake: it may want to be shown a certificate.
    OwnCertificate,
    /// The host's certificate does not hold.
    Certificate,
    /// The two sides have no version of TLS, or no way to encrypt, in common.
    Tls,
    /// The host that the user has named speaks no TLS.
    NoTls,
    /// The host speaks no TLS, though who leads there says so.
    NoTlsElsewhere,
    /// The proxy on the way wants a login, or another one.
    ProxyLogin(ProxyLogin),
    /// The proxy on the way failed.
    Proxy,
    /// The host, to which the user wants plain HTTP to be spoken, speaks TLS.
    Plain,
    /// What the host speaks is no HTTP, nor was before.
    NoHttp,
    /// There was no connection to the host that the user has named, and no proxy on the way, for this reason.
    Connect(Option<Unproxied>),
    /// There was no connection to where the registry or a manifest leads.
    ConnectElsewhere(Option<Unproxied>),
    /// Something else.
    Other,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.failing_proxy();
        let root = in_words(&self.error);
        if let (REFUSED, Some(proxy)) = (&*root, proxy) {
            return write!(f, "the proxy {proxy} refuses to connect there");
        }
        if let (Some(login), Some(proxy)) = (self.login_at_proxy(), proxy) {
            let what = match login {
                ProxyLogin::Missing => "takes nobody without a login",
                ProxyLogin::Refused => "refuses the login that its URL has",
                ProxyLogin::Unasked => "takes no login by a password",
            };
            return write!(f, "the proxy {proxy} {what}");
        }
        if let Some(proxy) = proxy {
            write!(f, "through the proxy {proxy}: ")?;
        }
        if self.error.is_connect() && self.error.is_timeout() {
            f.write_str("nobody answers there")
        } else if self.is_silent() {
            // Who says that an answer comes, and says so on and on, is somebody (RFC 9110, 15.2).
            write!(f, "none came in {} s", self.asked.patience.as_secs())
        } else if self.has_begun() && self.error.is_timeout() {
            write!(
                f,
                "no more of its body came in {} s",
                self.asked.patience.as_secs()
            )
        } else if let (Reason::NoTlsElsewhere, Some(by)) = (self.reason(), &self.asked.named_by) {
            write!(f, "{root}, and {by} names it by an https URL")
        } else if self.asked.speaks_tls {
            f.write_str("it speaks TLS, and was spoken to without")
        } else {
            f.write_str(root.trim_start_matches(TUNNEL))
        }
    }
}

/// The root of an error, without what only who writes Rust knows of TLS.
fn in_words(error: &reqwest::Error) -> String {
    let tls = causes(error).find_map(|cause| cause.downcast_ref());
    if speaks_no_tls(error) {
        return "it speaks no TLS".to_owned();
    }
    if let Some(error) = tls {
        return tls_in_words(error);
    }
    let root = causes(error).last().map(ToString::to_string);
    let root = root.unwrap_or_default();
    if has_too_large_head(error) {
        return format!(
            "the headers of the answer are too many, more than {MAX_HEADERS}, or too large"
        );
    }
    if is_no_http(error) {
        // The HTTP library does not say which one, and which bytes those are, an error need not show.
        let root = match &*root {
            "invalid HTTP header parsed" => "a header has characters that none may have",
            root => root,
        };
        return format!("what comes is no HTTP: {root}");
    }
    if root.contains("close_notify") {
        return "it closes the connection in the middle".to_owned();
    }
    root
}

fn tls_in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => {
            format!("its certificate {}", certificate_in_words(error))
        }
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "it speaks no version of TLS that is new enough: 1.2 or newer is needed".to_owned(),
        rustls::Error::AlertReceived(alert) => {
            format!(
                "it sends the TLS alert {:?}",
                name_in_words(&format!("{alert:?}"))
            )
        }
        rustls::Error::PeerIncompatible(_) => {
            "it has no version of TLS, or no way to encrypt, that is known here".to_owned()
        }
        rustls::Error::DecryptError => "what comes by TLS is damaged".to_owned(),
        rustls::Error::InvalidMessage(fault) => no_tls_in_words(fault),
        rustls::Error::PeerMisbehaved(fault) => no_tls_in_words(fault),
        error => format!("what comes is no TLS: {error}"),
    }
}

fn no_tls_in_words(fault: &dyn fmt::Debug) -> String {
    let fault = name_in_words(&format!("{fault:?}"));
    format!("what comes is no TLS: {fault}")
}

fn certificate_in_words(error: &CertificateError) -> String {
    let date = |time: &UnixTime| {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
        time.map(httpdate::fmt_http_date).unwrap_or_default()
    };
    match error {
        CertificateError::UnknownIssuer => "is signed by an authority that is not known".to_owned(),
        CertificateError::BadSignature => {
            "is not signed by the authority whose name it has".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}", date(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}", date(not_before))
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            // Each is what the library calls its kind, with the name in brackets.
            let names = presented.iter().filter_map(|name| {
                let name = name.split_once('(')?.1.strip_suffix(')')?;
                Some(name.trim_matches('"'))
            });
            let names: Vec<_> = names.take(MAX_NAMES).collect();
            match names.as_slice() {
                [] => "has no name of a host".to_owned(),
                names => format!("is for other names: {}", names.join(", ")),
            }
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers (extended key usage)".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed in a way, or by a kind of key, that is not known here".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => {
            "has a critical extension that is not known here".to_owned()
        }
        CertificateError::BadEncoding => "is malformed".to_owned(),
        CertificateError::Other(error) if error.0.is::<UnfitAuthority>() => error.0.to_string(),
        CertificateError::Other(error) => match format!("{:?}", error.0).as_str() {
            "NameConstraintViolation" => "has a name for which its authority may not sign",
            "PathLenConstraintViolated" => "has more authorities above it than one of them permits",
            "EndEntityUsedAsCa" => "is signed by what is no authority's",
            "CaUsedAsEndEntity" => "is an authority's",
            "UnsupportedCertVersion" => "is of another version than X.509 v3",
            "UnsupportedCriticalExtension" => "has a critical extension that is not known here",
            _ => "does not hold, or one of those above it",
        }
        .to_owned(),
        _ => "does not hold".to_owned(),
    }
}

/// The words that a name in capitals consists of, such as those of a TLS alert (RFC 8446, 6).
fn name_in_words(name: &str) -> String {
    let mut words = String::new();
    let mut before = 'A';
    for c in name.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
        before = c;
    }
    words
}

/// Whether TLS is spoken, and not as it should be.
pub(super) fn is_tls_error(error: &reqwest::Error) -> bool {
    is_of_tls(error) && !speaks_no_tls(error)
}

/// Whether TLS is not spoken, or not as it should be.
fn is_of_tls(error: &reqwest::Error) -> bool {
    find(error, |_| true)
}

fn is_no_certificate(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_))
}

/// Whether the two sides do not agree on how TLS is spoken.
fn is_disagreement(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::AlertReceived(_) | rustls::Error::PeerIncompatible(_)
    )
}

/// Whether bytes are other ones than were sent, which TLS tells and TCP does not always: they may be right the next time.
fn is_damaged(error: &reqwest::Error) -> bool {
    find(error, |error| matches!(error, rustls::Error::DecryptError))
}

fn is_unknown_issuer(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            // The name may be that of one that is known.
            CertificateError::UnknownIssuer | CertificateError::BadSignature
        )
    )
}

fn is_unfit_authority(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(CertificateError::Other(error)) if error.0.is::<UnfitAuthority>()
    )
}

/// Whether the other side ended the handshake, for what it was shown or not.
fn is_refusal(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::AccessDenied
                | AlertDescription::HandshakeFailure
        )
    )
}

fn speaks_no_tls(error: &reqwest::Error) -> bool {
    let is_other = |error: &rustls::Error| {
        matches!(
            error,
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)
        )
    };
    error.is_connect() && find(error, is_other)
}

/// Whether what came is no HTTP, or more of it than is read: it would be the same the next time.
fn is_no_http(error: &reqwest::Error) -> bool {
    // Of the chunks of a body (RFC 9112, 7.1) the HTTP library says so, and TLS of what it brings.
    let is_no_chunk = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        )
    };
    causes(error).any(|cause| {
        let parsed: Option<&hyper::Error> = cause.downcast_ref();
        parsed.is_some_and(hyper::Error::is_parse)
            || cause.to_string() == UNASKED
            || has_begun(error)
                && !is_of_tls(error)
                && cause.downcast_ref().is_some_and(is_no_chunk)
    })
}

/// Whether it is the body of an answer that did not come, all of it.
fn has_begun(error: &reqwest::Error) -> bool {
    error.is_body() || error.is_decode()
}

/// What the HTTP library says of who speaks before being asked, as in many other protocols.
const UNASKED: &str = "received unexpected message from connection";

/// What the HTTP library says of an answer whose headers have no end.
const TOO_LARGE_HEAD: &str = "message head is too large";

fn has_too_large_head(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.to_string() == TOO_LARGE_HEAD)
}

// The HTTP library's own type for what happens at a proxy is private.
const TUNNEL: &str = "tunnel error: ";

/// There is no connection to a proxy.
const NO_TUNNEL: &str = "tunnel error: failed to create underlying connection";

/// A proxy answers with an error: with which one, the HTTP library does not say.
const REFUSED: &str = "tunnel error: unsuccessful";

/// A proxy wants a login, or another one.
const WANTS_LOGIN: &str = "tunnel error: proxy authorization required";
const REFUSES_LOGIN: &str = "SOCKS error: credentials not accepted";

/// A proxy takes none of the ways to log in that it is offered, of which there is one, or it wants another one (RFC 1928, 3).
const NO_METHOD: &str = "SOCKS error: server does not support user/pass authentication";
const OTHER_METHOD: &str = "SOCKS error: server implements authentication incorrectly";

/// Whether a name does not exist, or nobody listens where it leads.
fn is_nobody(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        let refused = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
            )
        };
        // The HTTP library's own type for what happens at the name service is private.
        cause.downcast_ref().is_some_and(refused) || cause.to_string() == "dns error"
    })
}

/// Whether it was this program that did not ask, because of where a name leads.
pub(super) fn leads_to_local(error: &reqwest::Error) -> bool {
    causes(error).any(<dyn Error>::is::<LeadsToLocal>)
}

fn find(error: &reqwest::Error, is: impl Fn(&rustls::Error) -> bool) -> bool {
    causes(error).any(|cause| cause.downcast_ref().is_some_and(&is))
}

/// An error and what it comes from, the root last.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(Some(error as &(dyn Error + 'static)), |&error| {
        // An I/O error names as its source not what it wraps, but that one's source.
        match error.downcast_ref().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::{TcpSocket, TcpStream};

    use super::*;

    /// What the library of certificates has.
    #[derive(Debug, thiserror::Error)]
    #[error("{self:?}")]
    struct NameConstraintViolation;

    #[test]
    fn nobody_reads_the_names_of_a_library() {
        let name = CertificateError::NotValidForNameContext {
            expected: "a.test".try_into().unwrap(),
            presented: vec![
                "DnsName(\"b.test\")".to_owned(),
                "IpAddress(192.0.2.1)".to_owned(),
            ],
        };
        let expired = CertificateError::ExpiredContext {
            time: UnixTime::since_unix_epoch(Duration::from_secs(1)),
            not_after: UnixTime::since_unix_epoch(Duration::ZERO),
        };
        let certificate = rustls::Error::InvalidCertificate;
        let alert = rustls::Error::AlertReceived;
        for (error, told) in [
            (
                certificate(name),
                "its certificate is for other names: b.test, 192.0.2.1",
            ),
            (
                certificate(expired),
                "its certificate expired on Thu, 01 Jan 1970 00:00:00 GMT",
            ),
            (
                certificate(CertificateError::UnknownIssuer),
                "its certificate is signed by an authority that is not known",
            ),
            (
                certificate(CertificateError::Other(rustls::OtherError(Arc::new(
                    NameConstraintViolation,
                )))),
                "its certificate has a name for which its authority may not sign",
            ),
            (
                certificate(CertificateError::Revoked),
                "its certificate does not hold",
            ),
            (
                alert(AlertDescription::HandshakeFailure),
                "it sends the TLS alert \"handshake failure\"",
            ),
            (
                alert(AlertDescription::ProtocolVersion),
                "it speaks no version of TLS that is new enough: 1.2 or newer is needed",
            ),
            (
                alert(AlertDescription::UnknownCA),
                "it sends the TLS alert \"unknown ca\"",
            ),
        ] {
            assert_eq!(tls_in_words(&error), told);
        }
    }

    /// Linux answers no more connections than the queue of those that wait is long.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_does_not_answer_at_all_is_not_there() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let _listener = socket.listen(1).unwrap();
        let _waiting = [
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
        ];
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(50))
            .build()
            .unwrap();
        let error = client.get(format!("http://{address}/")).send().await;
        let error = NoAnswer::new(
            error.unwrap_err(),
            Asked {
                answered: false,
                patience: Duration::from_secs(60),
                proxy: None,
                named_by: None,
                speaks_tls: false,
            },
        );
        assert!(error.is_silent() && !error.is_final(), "{error}");
        assert_eq!(error.to_string(), "nobody answers there");
        assert_eq!(error.reason(), Reason::Connect(None));
    }
}
