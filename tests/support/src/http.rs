//! A server of HTTP/1.1, plain or over TLS, which answers each connection once.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method, such as `GET`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body, where its length was told, as far as it came.
    pub body: Vec<u8>,
    /// How many requests for this path came before.
    pub earlier: usize,
}

impl Seen {
    /// A `GET` of a path, the first one.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET".to_owned(),
            path: path.into(),
            headers: BTreeMap::new(),
            body: Vec::new(),
            earlier: 0,
        }
    }

    /// The range that it asks for of a document of `length` bytes.
    pub fn range(&self, length: usize) -> Option<Range<usize>> {
        let range = self.headers.get("range")?.strip_prefix("bytes=")?;
        let (first, last) = range.split_once('-')?;
        let first = first.parse().ok()?;
        let end = last.parse().map_or(length, |last: usize| last + 1);
        (first < end && end <= length).then_some(first..end)
    }
}

/// An answer, and how the connection ends.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code; 0 sends nothing at all.
    pub status: u16,
    /// The headers; `Content-Length` is among them only where a length is told.
    pub headers: Vec<(String, String)>,
    /// The body, which a `HEAD` does not get.
    pub body: Vec<u8>,
    /// How the body's pieces go out.
    pub flow: Flow,
    /// What comes after the body.
    pub end: End,
}

/// Is asked before each piece of a body goes out, with its length; it may take its time. If it says
/// no, nothing more comes.
#[derive(Clone)]
pub struct Flow(Arc<dyn Fn(usize) -> bool + Send + Sync>);

/// The length of a piece of a body.
pub const PIECE: usize = 8 * 1024;

impl Flow {
    /// As `admit` decides.
    pub fn new(admit: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(admit))
    }

    /// A piece at a time, with a pause before each.
    pub fn paced(pause: Duration) -> Self {
        Self::new(move |_| {
            std::thread::sleep(pause);
            true
        })
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self::new(|_| true)
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flow(…)")
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Close,
    /// With a reset, perhaps before anything was sent.
    Reset,
    /// Not before the other side gives up.
    Stall,
}

impl Answer {
    /// An answer with a body and its length.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let headers = vec![("Content-Length".to_owned(), body.len().to_string())];
        Self {
            status,
            headers,
            body,
            flow: Flow::default(),
            end: End::Close,
        }
    }

    /// No answer at all.
    pub fn none(end: End) -> Self {
        let mut answer = Self::new(0, Vec::new()).end(end);
        answer.headers.clear();
        answer
    }

    /// With a header more, or another value of it.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers
            .retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With another flow of the body.
    #[must_use]
    pub fn flow(mut self, flow: Flow) -> Self {
        self.flow = flow;
        self
    }

    /// With another end.
    #[must_use]
    pub fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// With only the first bytes of the body; the length that it tells stays.
    #[must_use]
    pub fn cut(mut self, bytes: usize, end: End) -> Self {
        self.body.truncate(bytes);
        self.end(end)
    }
}

/// A loopback port at which nobody listens, and nobody else will as long as this is kept.
#[derive(Debug)]
pub struct Deaf(socket2::Socket);

impl Deaf {
    /// A free port.
    ///
    /// # Panics
    /// If there is none.
    pub fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket can be made");
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&loopback.into()).expect("a free port");
        Self(socket)
    }

    /// `127.0.0.1:PORT`.
    ///
    /// # Panics
    /// If the socket has no address.
    pub fn host(&self) -> String {
        let address = self.0.local_addr().expect("bound");
        address.as_socket().expect("of IPv4").to_string()
    }
}

impl Default for Deaf {
    fn default() -> Self {
        Self::new()
    }
}

/// A certificate for 127.0.0.1 and `registry.test`, which has mostly signed itself, and its key, as files.
#[derive(Debug)]
pub struct Identity {
    directory: TempDir,
    der: CertificateDer<'static>,
    config: Arc<ServerConfig>,
}

/// What an authority has that makes it count for nothing.
#[derive(Clone, Copy, Debug)]
pub enum Unfit {
    /// Its time is over, since 2001.
    Expired,
    /// Its time begins in 2950.
    NotYet,
    /// A critical extension that nobody knows.
    Extension,
}

const AUTHORITY: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);

impl Identity {
    /// A new one.
    pub fn new() -> Self {
        Self::make(IsCa::NoCa, &[], None, None)
    }

    /// A new one that says of itself that it is an authority, as `openssl req -x509` makes it.
    pub fn of_authority() -> Self {
        Self::make(AUTHORITY, &[], None, None)
    }

    /// As [`Identity::of_authority`], only to be shown by clients.
    pub fn of_authority_for_clients() -> Self {
        let usage = [ExtendedKeyUsagePurpose::ClientAuth];
        Self::make(AUTHORITY, &usage, None, None)
    }

    /// As [`Identity::of_authority`], signed by another one.
    pub fn of_signed_authority() -> Self {
        Self::make(AUTHORITY, &[], None, Some(AUTHORITY))
    }

    /// As [`Identity::of_signed_authority`], only to be shown by clients.
    pub fn of_signed_authority_for_clients() -> Self {
        let usage = [ExtendedKeyUsagePurpose::ClientAuth];
        Self::make(AUTHORITY, &usage, None, Some(AUTHORITY))
    }

    /// A new one, signed by an authority that nobody knows.
    pub fn of_unknown_authority() -> Self {
        Self::make(IsCa::NoCa, &[], None, Some(AUTHORITY))
    }

    /// A new one, signed with the key of a certificate that is no authority's.
    pub fn signed_by_none() -> Self {
        Self::make(IsCa::NoCa, &[], None, Some(IsCa::NoCa))
    }

    /// As [`Identity::signed_by_none`], and says of itself that it is an authority.
    pub fn of_authority_signed_by_none() -> Self {
        Self::make(AUTHORITY, &[], None, Some(IsCa::NoCa))
    }

    /// A new one, for a server to which clients show the certificate of `client`.
    pub fn for_client(client: &Identity) -> Self {
        Self::make(IsCa::NoCa, &[], Some(client), None)
    }

    /// As [`Identity::of_unknown_authority`], by one with something that makes it count for nothing.
    pub fn of_unfit_authority(unfit: Unfit) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = AUTHORITY;
        match unfit {
            Unfit::Expired => authority.not_after = date_time_ymd(2001, 2, 3),
            Unfit::NotYet => authority.not_before = date_time_ymd(2950, 2, 3),
            Unfit::Extension => {
                let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                unknown.set_criticality(true);
                authority.custom_extensions.push(unknown);
            }
        }
        Self::make_with(IsCa::NoCa, &[], None, Some(authority))
    }

    fn make(
        is_ca: IsCa,
        usage: &[ExtendedKeyUsagePurpose],
        client: Option<&Identity>,
        signer: Option<IsCa>,
    ) -> Self {
        let signer = signer.map(|is_ca| {
            let mut authority = CertificateParams::default();
            authority.is_ca = is_ca;
            authority
        });
        Self::make_with(is_ca, usage, client, signer)
    }

    fn make_with(
        is_ca: IsCa,
        usage: &[ExtendedKeyUsagePurpose],
        client: Option<&Identity>,
        signer: Option<CertificateParams>,
    ) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let names = ["127.0.0.1", "registry.test"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("names");
        params.is_ca = is_ca;
        params.extended_key_usages = usage.to_vec();
        let name = format!("tests {}", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let signing_key = KeyPair::generate().expect("a key can be made");
        let directory = tempfile::tempdir().expect("a directory can be made");
        let write = |name: &str, text: String| {
            std::fs::write(directory.path().join(name), text).expect("can be written");
        };
        let certificate = if let Some(authority) = signer {
            let key = KeyPair::generate().expect("a key can be made");
            let itself = authority.self_signed(&key);
            write("ca.crt", itself.expect("a certificate can be made").pem());
            params.signed_by(&signing_key, &Issuer::new(authority, key))
        } else {
            params.self_signed(&signing_key)
        };
        let certificate = certificate.expect("a certificate can be made");
        write("tls.crt", certificate.pem());
        write("tls.key", signing_key.serialize_pem());
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS");
        let config = match client {
            None => config.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.der.clone()).expect("a certificate");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier.expect("it has a root"))
            }
        };
        let config = config
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("the key fits the certificate");
        Self {
            directory,
            der: certificate.der().clone(),
            config: Arc::new(config),
        }
    }

    /// The certificate, in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate, in PEM.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("tls.crt")
    }

    /// The certificate of the authority that signed it, in PEM.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// The key, in PEM.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("tls.key")
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

/// One answer that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The status of the response.
    pub status: u16,
    /// The length of the response's body in bytes.
    pub bytes: u64,
}

/// The requests by this method that name this digest.
pub fn about<'a>(requests: &'a [Request], method: &str, digest: &str) -> Vec<&'a Request> {
    let hex = digest.trim_start_matches("sha256:");
    requests
        .iter()
        .filter(|request| request.method == method && request.path.contains(hex))
        .collect()
}

/// How many bytes of each of these blobs, digest and size, went out, in however many answers; those of which none
/// did are left out.
pub fn bytes_of(requests: &[Request], blobs: &[(String, u64)]) -> Vec<(String, u64)> {
    let sent = |digest: &str| {
        let of_blob = |request: &&Request| request.path.ends_with(digest);
        let answers = requests.iter().filter(|request| request.method == "GET");
        answers.filter(of_blob).map(|request| request.bytes).sum()
    };
    blobs
        .iter()
        .map(|(digest, _)| (digest.clone(), sent(digest)))
        .filter(|(_, bytes)| *bytes > 0)
        .collect()
}

/// What happened at a server.
#[derive(Debug, Default)]
struct Log {
    requests: Mutex<Requests>,
    answered: Condvar,
    sent: AtomicU64,
    bodies: AtomicU64,
    most_bodies: AtomicU64,
}

#[derive(Debug, Default)]
struct Requests {
    seen: Vec<Seen>,
    answered: Vec<Request>,
    /// How many of the seen ones are being answered.
    open: usize,
}

/// A request that is being answered, until it is dropped.
struct Open<'a>(&'a Log);

impl Log {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().expect("no thread panicked")
    }

    fn open(&self, request: &mut Seen) -> Open<'_> {
        let mut requests = self.requests();
        let earlier = requests.seen.iter();
        request.earlier = earlier.filter(|other| other.path == request.path).count();
        requests.seen.push(request.clone());
        requests.open += 1;
        Open(self)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // A panic of another thread is told by those who ask.
        if let Ok(mut requests) = self.0.requests.lock() {
            requests.open -= 1;
            self.0.answered.notify_all();
        }
    }
}

/// The running server. It ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server on a free loopback port that answers what `answer` says; over TLS if it has an identity.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn start(
        identity: Option<&Identity>,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let log = Arc::new(Log::default());
        let stop = Arc::new(AtomicBool::new(false));
        let tls = identity.map(|identity| Arc::clone(&identity.config));
        let answer = Arc::new(answer);
        let thread = std::thread::spawn({
            let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (log, answer, tls) = (Arc::clone(&log), Arc::clone(&answer), tls.clone());
                    // A client may hang up at any time.
                    std::thread::spawn(move || connection(stream, tls, &log, &*answer));
                }
            }
        });
        Self {
            address,
            log,
            stop,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests until now.
    ///
    /// # Panics
    /// If an answer panicked.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.requests().seen.clone()
    }

    /// All requests until now, in the order in which their answers went out; waits for those under way.
    ///
    /// # Panics
    /// If an answer panicked.
    pub fn requests(&self) -> Vec<Request> {
        let requests = self.log.requests();
        let answered = self.log.answered.wait_while(requests, |r| r.open > 0);
        answered.expect("no thread panicked").answered.clone()
    }

    /// How many bytes of bodies went out.
    pub fn sent(&self) -> u64 {
        self.log.sent.load(Ordering::SeqCst)
    }

    /// How many bodies went out at once, at most.
    pub fn most_at_once(&self) -> u64 {
        self.log.most_bodies.load(Ordering::SeqCst)
    }

    /// How many requests had a path that ends so.
    pub fn count(&self, end: &str) -> usize {
        self.seen()
            .iter()
            .filter(|request| request.path.ends_with(end))
            .count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn connection(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    log: &Log,
    answer: &impl Fn(&Seen) -> Answer,
) -> std::io::Result<()> {
    let socket = stream.try_clone()?;
    match tls {
        None => serve(stream, &socket, log, answer),
        Some(config) => {
            let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
            let served = serve(StreamOwned::new(session, stream), &socket, log, answer);
            if served.is_err() {
                // To close before all is read would take back why the handshake was refused.
                socket.shutdown(Shutdown::Write)?;
                wait_for_end(&socket)?;
            }
            served
        }
    }
}

fn serve<S: Read + Write>(
    stream: S,
    socket: &TcpStream,
    log: &Log,
    answer: &impl Fn(&Seen) -> Answer,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let mut request = Seen::get(path);
    method.clone_into(&mut request.method);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        request
            .headers
            .insert(name.to_lowercase(), value.to_owned());
    }
    let length = request.headers.get("content-length");
    let length = length.map_or(0, |length| length.parse().unwrap_or(0));
    // What came before a break is seen.
    let _ = (&mut reader).take(length).read_to_end(&mut request.body);
    let _open = log.open(&mut request);
    let mut answer = answer(&request);
    if request.method == "HEAD" {
        answer.body.clear();
    }
    let mut stream = reader.into_inner();
    if answer.status != 0 {
        write_head(&mut stream, &answer)?;
        let bytes = send(&mut stream, socket, &answer, log)?;
        log.requests().answered.push(Request {
            method: request.method,
            path: request.path,
            status: answer.status,
            bytes,
        });
    }
    match answer.end {
        End::Close => {}
        End::Reset => {
            socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
        }
        End::Stall => wait_for_end(socket)?,
    }
    Ok(())
}

fn write_head(stream: &mut impl Write, answer: &Answer) -> std::io::Result<()> {
    let fields = answer.headers.iter();
    let fields: String = fields
        .flat_map(|(name, value)| [name, ": ", value, "\r\n"])
        .collect();
    let status = answer.status;
    let head = format!("HTTP/1.1 {status} Answer\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes())
}

fn send(
    stream: &mut impl Write,
    socket: &TcpStream,
    answer: &Answer,
    log: &Log,
) -> std::io::Result<u64> {
    let mut going = Some(Going::count(log));
    let mut sent = 0;
    for piece in answer.body.chunks(PIECE) {
        if !(answer.flow.0)(piece.len()) {
            wait_for_end(socket)?;
            break;
        }
        // Who has all of it may ask for more before this thread goes on.
        if sent + piece.len() as u64 == answer.body.len() as u64 {
            going.take();
        }
        stream.write_all(piece)?;
        sent += piece.len() as u64;
        log.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
    }
    stream.flush()?;
    Ok(sent)
}

/// A body that goes out.
struct Going<'a>(&'a Log);

impl<'a> Going<'a> {
    fn count(log: &'a Log) -> Self {
        let bodies = log.bodies.fetch_add(1, Ordering::SeqCst) + 1;
        log.most_bodies.fetch_max(bodies, Ordering::SeqCst);
        Going(log)
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.0.bodies.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until the other side gives up.
fn wait_for_end(mut socket: &TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut socket, &mut std::io::sink()).map(drop)
}
