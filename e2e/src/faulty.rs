//! A small registry whose every answer a test may spoil.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

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
    /// The body.
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

/// The config of an image of these layers, which are not compressed.
pub(crate) fn config_of(layers: &[Value]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
    json!({
        "os": "linux",
        "architecture": "amd64",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

/// The manifest of an image, of descriptors.
pub(crate) fn manifest_of(config: &Value, layers: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
}

/// What a registry has: blobs and manifests by digest.
#[derive(Clone, Debug, Default)]
pub struct Content {
    documents: HashMap<String, (String, Vec<u8>)>,
    /// The digest of the image.
    pub digest: String,
    /// The digests of its layers.
    pub layers: Vec<String>,
}

impl Content {
    /// An image of these layers.
    pub fn image(layers: &[Vec<u8>]) -> Self {
        let mut content = Self::default();
        let descriptors: Vec<_> = layers
            .iter()
            .map(|layer| content.add("application/vnd.oci.image.layer.v1.tar", layer.clone()))
            .collect();
        content.layers = layers.iter().map(|layer| digest(layer)).collect();
        content.finish(&descriptors)
    }

    /// Adds a document and returns its descriptor.
    pub fn add(&mut self, media_type: &str, data: Vec<u8>) -> Value {
        let digest = digest(&data);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": data.len()});
        self.documents.insert(digest, (media_type.to_owned(), data));
        descriptor
    }

    /// The descriptor of a document that it has.
    ///
    /// # Panics
    /// If it has none of this digest.
    pub fn descriptor(&self, digest: &str) -> Value {
        let (media_type, data) = &self.documents[digest];
        json!({"mediaType": media_type, "digest": digest, "size": data.len()})
    }

    /// Makes the image of what these descriptors say its layers are.
    #[must_use]
    pub fn finish(mut self, layers: &[Value]) -> Self {
        let config = self.add(CONFIG, config_of(layers).to_string().into_bytes());
        let manifest = manifest_of(&config, layers).to_string();
        self.with_root(MANIFEST, manifest.into_bytes())
    }

    /// Makes this document the image.
    #[must_use]
    pub fn with_root(mut self, media_type: &str, data: Vec<u8>) -> Self {
        self.digest = digest(&data);
        self.add(media_type, data);
        self
    }

    /// What a good registry answers who asks for this digest.
    pub fn answer_to(&self, digest: &str) -> Answer {
        self.answer(&Seen {
            method: "GET".to_owned(),
            path: format!("/{digest}"),
            headers: BTreeMap::new(),
            body: Vec::new(),
            earlier: 0,
        })
    }

    /// What a good registry answers: manifests and blobs by digest, with ranges. It has no referrers API.
    fn answer(&self, seen: &Seen) -> Answer {
        let wanted = seen.path.rsplit('/').next().unwrap_or_default();
        if seen.path == "/v2/" {
            return Answer::new(200, "{}");
        }
        let found = self.documents.get(wanted);
        let Some((media_type, data)) = found.filter(|_| !seen.path.contains("/referrers/")) else {
            return Answer::new(404, r#"{"errors":[{"code":"NOT_FOUND"}]}"#);
        };
        let answer = match seen.range(data.len()) {
            Some(range) => Answer::new(206, &data[range.clone()]).header(
                "Content-Range",
                format!("bytes {}-{}/{}", range.start, range.end - 1, data.len()),
            ),
            None => Answer::new(200, data.clone()),
        };
        answer
            .header("Content-Type", media_type)
            .header("Docker-Content-Digest", wanted)
    }
}

/// What happened at a registry.
#[derive(Debug, Default)]
struct Log {
    seen: Mutex<Vec<Seen>>,
    sent: AtomicU64,
    bodies: AtomicU64,
    most_bodies: AtomicU64,
}

/// The running registry. It ends when dropped.
#[derive(Debug)]
pub struct Faulty {
    address: SocketAddr,
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Faulty {
    /// A registry that answers what `spoil` makes of the right answer.
    pub fn start(
        content: Content,
        spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let log = Arc::new(Log::default());
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new((content, spoil));
        let thread = std::thread::spawn({
            let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (log, shared) = (Arc::clone(&log), Arc::clone(&shared));
                    std::thread::spawn(move || {
                        // A client may hang up at any time.
                        let _ = serve(stream, &log, |request| {
                            (shared.1)(request, shared.0.answer(request))
                        });
                    });
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
    pub fn seen(&self) -> Vec<Seen> {
        self.log.seen.lock().expect("no thread panicked").clone()
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

impl Drop for Faulty {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, log: &Log, answer: impl Fn(&Seen) -> Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let mut request = Seen {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: BTreeMap::new(),
        body: Vec::new(),
        earlier: 0,
    };
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
    {
        let mut seen = log.seen.lock().expect("no thread panicked");
        request.earlier = seen
            .iter()
            .filter(|other| other.path == request.path)
            .count();
        seen.push(request.clone());
    }
    let answer = answer(&request);
    let mut stream = reader.into_inner();
    let fields = answer.headers.iter();
    let fields: String = fields
        .flat_map(|(name, value)| [name, ": ", value, "\r\n"])
        .collect();
    let head = format!(
        "HTTP/1.1 {} Answer\r\nConnection: close\r\n{fields}\r\n",
        answer.status
    );
    if answer.status != 0 {
        stream.write_all(head.as_bytes())?;
        let bodies = log.bodies.fetch_add(1, Ordering::SeqCst) + 1;
        log.most_bodies.fetch_max(bodies, Ordering::SeqCst);
        let result = send(&mut stream, &answer, log);
        log.bodies.fetch_sub(1, Ordering::SeqCst);
        result?;
    }
    match answer.end {
        End::Close => {}
        End::Reset => {
            socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
        }
        End::Stall => {
            stream.read_to_end(&mut Vec::new())?;
        }
    }
    Ok(())
}

fn send(stream: &mut TcpStream, answer: &Answer, log: &Log) -> std::io::Result<()> {
    for piece in answer.body.chunks(PIECE) {
        if !(answer.flow.0)(piece.len()) {
            stream.read_to_end(&mut Vec::new())?;
            return Ok(());
        }
        stream.write_all(piece)?;
        log.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
    }
    Ok(())
}

/// The digest of data.
pub fn digest(data: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(data)))
}

/// Bytes that do not compress and are the same each time.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    })
    .take(length)
    .collect()
}
