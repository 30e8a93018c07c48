//! Whom a registry's certificate must be signed by, and the certificate that it is shown (`certs.d` of Docker and
//! podman, containers-certs.d(5)).

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use chrono::DateTime;
use memchr::memmem;
use reqwest::ClientBuilder;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, Der, PrivateKeyDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::files::{FileError, io_failed, read_at_most};
use crate::oci::reference::{Registry, Scheme};

use super::x509::{Certificate, Unfit};

/// Authorities that are trusted beside those of the system.
#[derive(Clone, Default)]
pub struct Certificates {
    named: Vec<Trusted>,
    /// Those to show, each with those that signed it, and its key.
    own: Vec<Arc<CertifiedKey>>,
}

/// A certificate that is trusted, and the file that has it.
#[derive(Clone, Debug)]
struct Trusted {
    certificate: CertificateDer<'static>,
    path: Arc<Path>,
}

/// An authority that is trusted, and does not count now.
#[derive(Clone, Debug, thiserror::Error)]
#[error("is signed by the authority {name:?} in {path}, which {why}", path = .path.display())]
pub(super) struct UnfitAuthority {
    name: String,
    path: Arc<Path>,
    why: Unfit,
}

/// Why a file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// There is none in it.
    #[error("{path} holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----", path = .0.display())]
    Empty(PathBuf),
    /// It is not what it should be.
    #[error("{path} is not valid PEM", path = .0.display())]
    Pem(PathBuf),
    /// A certificate has no key.
    #[error("{path} cannot be shown to a registry: {key} must be beside it, in PEM", path = .0.display(), key = .0.with_extension("key").display())]
    NoKey(PathBuf),
    /// A key has no certificate.
    #[error("{path} is of no use: its certificate, {certificate}, must be beside it", path = .0.display(), certificate = .0.with_extension("cert").display())]
    NoCertificate(PathBuf),
    /// A key cannot be read.
    #[error("{path} holds no key in PEM that is not encrypted", path = .0.display())]
    Key(PathBuf),
    /// A key is another certificate's, or of a kind that cannot be used.
    #[error("{path} is not the key of {certificate}, or none of RSA, P-256, P-384 or Ed25519", path = .0.display(), certificate = .0.with_extension("cert").display())]
    Pair(PathBuf, #[source] rustls::Error),
}

/// The most bytes that a file of certificates may have: those of systems have a quarter of a MiB.
const MAX_FILE: u64 = 16 << 20;
/// Where systems have their authorities in one file.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Where they have each in one of its own.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

impl Certificates {
    /// Adds those of a file, which must have some.
    pub fn add_file(&mut self, path: &Path) -> Result<(), CertificatesError> {
        let certificates = read_file(path)?;
        let can_sign =
            |one: &Trusted| (RootCertStore::empty().add(one.certificate.clone())).is_ok();
        if !certificates.iter().any(can_sign) {
            return Err(CertificatesError::Pem(path.to_owned()));
        }
        self.named.extend(certificates);
        Ok(())
    }

    /// Adds those of the files in a directory, as far as they are some; one of them must be.
    pub fn add_directory(&mut self, path: &Path) -> Result<(), CertificatesError> {
        let files = io_failed("read", path, list(path))?;
        let before = self.named.len();
        for file in files {
            self.named.extend(read_file(&file).unwrap_or_default());
        }
        if self.named.len() == before {
            return Err(CertificatesError::Empty(path.to_owned()));
        }
        Ok(())
    }

    /// With those that `directories` have for a registry: `*.crt` are authorities, `*.cert` are shown to it, the first
    /// that it asks for.
    pub(super) fn of_registry(
        &self,
        directories: &[PathBuf],
        registry: &Registry,
    ) -> Result<Self, CertificatesError> {
        let mut all = self.clone();
        let is_of_registry = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            let of: Option<Registry> = name.and_then(|name| name.parse().ok());
            of.is_some_and(|of| of.is_same(registry, Scheme::Https))
        };
        let all_names = directories
            .iter()
            .flat_map(|path| list(path).unwrap_or_default());
        for directory in all_names.filter(is_of_registry) {
            for path in list(&directory).unwrap_or_default() {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => all.add_file(&path)?,
                    Some("cert") => all.own.push(Arc::new(read_pair(&path)?)),
                    Some("key") if !path.with_extension("cert").exists() => {
                        return Err(CertificatesError::NoCertificate(path));
                    }
                    _ => {}
                }
            }
        }
        Ok(all)
    }

    /// The same authorities, and nothing to show.
    pub(super) fn without_own(&self) -> Self {
        Certificates {
            named: self.named.clone(),
            own: Vec::new(),
        }
    }

    /// Has a client trust these beside the system's.
    pub(super) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, rustls::Error> {
        if cfg!(any(target_vendor = "apple", windows)) {
            // There the system itself judges.
            let named = self.named.iter();
            let named =
                named.filter_map(|one| reqwest::Certificate::from_der(&one.certificate).ok());
            return Ok(builder.tls_certs_merge(named));
        }
        Ok(builder.tls_backend_preconfigured(self.configuration()?))
    }

    fn configuration(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier {
            named: self.named.clone(),
            trust: OnceLock::new(),
            provider: Arc::clone(&provider),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        Ok(builder.with_client_cert_resolver(Arc::new(Own(self.own.clone()))))
    }
}

/// Shows no key.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.named.len())
    }
}

/// The system's authorities, as far as there are some.
fn of_system() -> Vec<Trusted> {
    let bundle = BUNDLES
        .iter()
        .find_map(|path| read_file(Path::new(path)).ok());
    bundle.unwrap_or_else(|| {
        let files = DIRECTORIES.iter().flat_map(|path| list(Path::new(path)));
        let files = files.flatten();
        files
            .flat_map(|file| read_file(&file).unwrap_or_default())
            .collect()
    })
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn read_file(path: &Path) -> Result<Vec<Trusted>, CertificatesError> {
    let bytes = io_failed("read", path, read_at_most(path, MAX_FILE))?;
    let read = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, pem::Error>>();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(CertificatesError::Empty(path.to_owned()))
        }
        Ok(certificates) => {
            let path: Arc<Path> = path.into();
            let trusted = certificates.into_iter().map(|certificate| Trusted {
                certificate,
                path: Arc::clone(&path),
            });
            Ok(trusted.collect())
        }
        Err(_) => Err(CertificatesError::Pem(path.to_owned())),
    }
}

/// A certificate to show, and its key beside it.
fn read_pair(path: &Path) -> Result<CertifiedKey, CertificatesError> {
    let chain = read_file(path)?;
    let chain = chain.into_iter().map(|one| one.certificate).collect();
    let beside = path.with_extension("key");
    if !beside.exists() {
        return Err(CertificatesError::NoKey(path.to_owned()));
    }
    let pem = io_failed("read", &beside, read_at_most(&beside, MAX_FILE))?;
    let key = PrivateKeyDer::from_pem_slice(&pem);
    let key = key.map_err(|_| CertificatesError::Key(beside.clone()))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| CertificatesError::Pair(beside, error))
}

/// Shows the first of several certificates that is asked for.
#[derive(Debug)]
struct Own(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Own {
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let usable = || {
            let own = self.0.iter();
            own.filter(|own| own.key.choose_scheme(schemes).is_some())
        };
        // A certificate has its issuer's name as it is.
        let is_of = |certificate: &CertificateDer<'_>| {
            let mut names = authorities.iter();
            names.any(|name| memmem::find(certificate, name).is_some())
        };
        let asked_for = usable().find(|own| own.cert.iter().any(is_of));
        // The server may know what signed it nevertheless.
        asked_for.or_else(|| usable().next()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Trusts a certificate that is among the trusted itself, too, whoever signed it, and one that says of itself that it is an
/// authority, as what `openssl req -x509` makes does, where one of the trusted that may sign signed it: as Go and curl do.
#[derive(Debug)]
struct Verifier {
    named: Vec<Trusted>,
    /// Read when somebody shows a certificate: most of what is on this machine speaks no TLS.
    trust: OnceLock<Result<Trust, rustls::Error>>,
    provider: Arc<CryptoProvider>,
}

/// Who is trusted.
#[derive(Debug)]
struct Trust {
    usual: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    /// Those of the same that may sign others.
    authorities: Arc<RootCertStore>,
    /// Those that might, each as the only one that is trusted.
    unfit: Vec<(Trust, UnfitAuthority)>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What a server shows, and where it is.
#[derive(Clone, Copy)]
struct Shown<'a> {
    end_entity: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    server_name: &'a ServerName<'a>,
    now: UnixTime,
}

impl Trust {
    /// Those of the system, and these.
    fn read(
        named: &[Trusted],
        provider: &Arc<CryptoProvider>,
        now: UnixTime,
    ) -> Result<Self, rustls::Error> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let now = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        let mut trusted = of_system();
        trusted.extend(named.iter().cloned());
        let (mut authorities, mut unfit) = (Vec::new(), Vec::new());
        for one in &trusted {
            let certificate = Certificate::parse(&one.certificate);
            let Some(certificate) = certificate.filter(Certificate::may_sign) else {
                continue;
            };
            let signing = one.certificate.clone();
            match certificate.unfit(now) {
                None => authorities.push(signing),
                Some(why) => unfit.push((
                    Trust::of(Vec::new(), vec![signing], provider)?,
                    UnfitAuthority {
                        name: certificate.name(),
                        path: Arc::clone(&one.path),
                        why,
                    },
                )),
            }
        }
        let trusted = trusted.into_iter().map(|one| one.certificate).collect();
        Ok(Trust {
            unfit,
            ..Trust::of(trusted, authorities, provider)?
        })
    }

    fn of(
        trusted: Vec<CertificateDer<'static>>,
        signing: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(signing);
        if authorities.is_empty() {
            // The library wants one: this signs nothing.
            authorities.roots.push(TrustAnchor {
                subject: Der::from_slice(&[]),
                subject_public_key_info: Der::from_slice(&[]),
                name_constraints: None,
            });
        }
        let authorities = Arc::new(authorities);
        let usual = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&authorities),
            Arc::clone(provider),
        );
        let usual = usual
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Trust {
            usual,
            trusted,
            authorities,
            unfit: Vec::new(),
            algorithms: provider.signature_verification_algorithms,
        })
    }

    fn verify(&self, shown: Shown) -> Result<(), rustls::Error> {
        let Shown {
            end_entity,
            intermediates,
            server_name,
            now,
        } = shown;
        let usual = self
            .usual
            .verify_server_cert(end_entity, intermediates, server_name, &[], now);
        let judged = match usual {
            // Its time is judged before what it is for and who signed it.
            Err(rustls::Error::InvalidCertificate(
                usual @ (CertificateError::Other(_)
                | CertificateError::UnknownIssuer
                | CertificateError::BadSignature),
            )) => self.judge(shown, usual),
            judged => judged.map(|_| ()),
        };
        judged.map_err(|error| {
            let mut unfit = self.unfit.iter();
            match unfit.find(|(trust, _)| trust.verify(shown).is_ok()) {
                Some((_, unfit)) => {
                    CertificateError::Other(OtherError(Arc::new(unfit.clone()))).into()
                }
                None => error,
            }
        })
    }

    /// What to say of a certificate whose time is right, and whose authority is not known, or which is one itself.
    fn judge(&self, shown: Shown, usual: CertificateError) -> Result<(), rustls::Error> {
        let end_entity = shown.end_entity;
        let certificate = Certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
        let is_authority = certificate.is_authority();
        let is_signed = || {
            let mut authorities = self.authorities.roots.iter();
            authorities.any(|one| certificate.is_signed_by(one, self.algorithms.all))
        };
        if self.trusted.iter().any(|one| one == end_entity) || is_authority && is_signed() {
            if !certificate.is_for_servers() {
                return Err(CertificateError::InvalidPurpose.into());
            }
            let parsed = ParsedCertificate::try_from(end_entity)?;
            return verify_server_name(&parsed, shown.server_name);
        }
        Err(match usual {
            CertificateError::Other(_) if is_authority => CertificateError::UnknownIssuer,
            usual => usual,
        }
        .into())
    }
}

impl Verifier {
    fn algorithms(&self) -> WebPkiSupportedAlgorithms {
        self.provider.signature_verification_algorithms
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let read = || Trust::read(&self.named, &self.provider, now);
        let trust = self
            .trust
            .get_or_init(read)
            .as_ref()
            .map_err(Clone::clone)?;
        trust.verify(Shown {
            end_entity,
            intermediates,
            server_name,
            now,
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_directory_may_have_the_port_of_tls_or_not() {
        let directory = tempfile::tempdir().unwrap();
        // It has no certificate beside it, so it is told that it was found.
        let is_found = |name: &str, registry: &str| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("x.key"), "").unwrap();
            let registry = registry.parse().unwrap();
            let directories = [directory.path().to_owned()];
            let found = Certificates::default().of_registry(&directories, &registry);
            fs::remove_dir_all(&path).unwrap();
            found.is_err()
        };
        for (name, registry) in [
            ("r.test", "R.test:443"),
            ("r.test:443", "r.test"),
            ("r.test:80", "r.test:80"),
            ("[::1]:5000", "[0:0::1]:5000"),
            ("[::1]:443", "[::1]"),
            ("R.test", "r.test"),
            ("[0:0::1]:05000", "[::1]:5000"),
        ] {
            assert!(is_found(name, registry), "{name} {registry}");
        }
        for (name, registry) in [("r.test", "r.test:80"), ("[::1]", "[::1]:5000")] {
            assert!(!is_found(name, registry), "{name} {registry}");
        }
    }
}
