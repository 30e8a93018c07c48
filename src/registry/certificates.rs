//! Whom a registry's certificate must be signed by, and the certificate that it is shown (`certs.d` of Docker and
//! podman, containers-certs.d(5)).

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::files::{FileError, io_failed};
use crate::oci::reference::Registry;

/// Authorities that are trusted beside those of the system.
#[derive(Clone, Default)]
pub struct Certificates {
    named: Vec<CertificateDer<'static>>,
    /// A certificate to show, with those that signed it, and its key.
    own: Option<Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>>,
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
    Own(PathBuf),
}

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
        self.named.extend(read_file(path)?);
        Ok(())
    }

    /// Adds those of the files in a directory, as far as they are some.
    pub fn add_directory(&mut self, path: &Path) -> Result<(), CertificatesError> {
        for file in io_failed("read", path, list(path))? {
            self.named.extend(read_file(&file).unwrap_or_default());
        }
        Ok(())
    }

    /// With those that `directories` have for a registry: `*.crt` are authorities, `*.cert` is shown to it.
    pub(super) fn of_registry(
        &self,
        directories: &[PathBuf],
        registry: &Registry,
    ) -> Result<Self, CertificatesError> {
        let mut all = self.clone();
        for directory in directories.iter().map(|path| path.join(registry.as_str())) {
            for path in list(&directory).unwrap_or_default() {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => all.add_file(&path)?,
                    Some("cert") => {
                        let chain = read_file(&path)?;
                        let key = PrivateKeyDer::from_pem_file(path.with_extension("key"))
                            .map_err(|_| CertificatesError::Own(path.clone()))?;
                        all.own = Some(Arc::new((chain, key)));
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
            own: None,
        }
    }

    /// Has a client trust these beside the system's.
    pub(super) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, rustls::Error> {
        if cfg!(any(target_vendor = "apple", windows)) {
            // There the system itself judges.
            let named = self.named.iter();
            let named = named.filter_map(|one| reqwest::Certificate::from_der(one).ok());
            return Ok(builder.tls_certs_merge(named));
        }
        Ok(builder.tls_backend_preconfigured(self.configuration()?))
    }

    fn configuration(&self) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(of_system());
        roots.add_parsable_certificates(self.named.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if roots.is_empty() {
            builder.with_root_certificates(roots)
        } else {
            let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
            let usual = usual
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Verifier {
                    usual,
                    named: self.named.clone(),
                }))
        };
        match self.own.as_deref() {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()),
        }
    }
}

/// Shows no key.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.named.len())
    }
}

/// The system's authorities, as far as there are some.
fn of_system() -> Vec<CertificateDer<'static>> {
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

fn read_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificatesError> {
    let bytes = io_failed("read", path, fs::read(path))?;
    let read = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, pem::Error>>();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(CertificatesError::Empty(path.to_owned()))
        }
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(CertificatesError::Pem(path.to_owned())),
    }
}

/// Trusts a certificate that was named itself, too, as Go and curl do: what `openssl req -x509` makes says of
/// itself that it is an authority, which a server's certificate may not be elsewhere.
#[derive(Debug)]
struct Verifier {
    usual: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let usual = self.usual.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match usual {
            // Its time is judged before what it is for.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.named.iter().any(|named| named == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.usual
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
