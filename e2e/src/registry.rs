//! Debian's `docker-registry` on a free loopback port.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::root::{Life, Root};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running registry. It ends when dropped.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    lines: mpsc::Receiver<String>,
    log: Vec<String>,
    host: String,
    storage: PathBuf,
    _directory: TempDir,
}

/// One line of the access log.
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

/// A user of [`Registry::with_password`]: `tester`, `secret`.
pub const CREDENTIALS: (&str, &str) = ("tester", "secret");

impl Registry {
    /// A registry that holds the base images and takes no others.
    pub fn with_base_images() -> Self {
        Self::start(
            Root::get().registry_storage(),
            "  maintenance: {readonly: {enabled: true}}\n",
            "",
        )
    }

    /// As [`Registry::with_base_images`], for those who know [`CREDENTIALS`].
    pub fn with_password() -> Self {
        let auth = "auth: {htpasswd: {realm: tests, path: HTPASSWD}}\n";
        Self::start(
            Root::get().registry_storage(),
            "  maintenance: {readonly: {enabled: true}}\n",
            auth,
        )
    }

    /// An empty registry that takes images.
    pub fn empty() -> Self {
        Self::start(PathBuf::new(), "", "")
    }

    fn start(storage: PathBuf, storage_options: &str, options: &str) -> Self {
        let directory = crate::scratch();
        let storage = if storage.as_os_str().is_empty() {
            directory.path().join("storage")
        } else {
            storage
        };
        std::fs::create_dir_all(&storage).expect("the storage can be made");
        let htpasswd = directory.path().join("htpasswd");
        // `secret`, by bcrypt with cost 4.
        std::fs::write(
            &htpasswd,
            "tester:$2b$04$w0/t05f5abhEC7WORwcJ5e6fLablhna3RvHRT4gSo472gwWiGZEZa\n",
        )
        .expect("can be written");
        let config = directory.path().join("config.yml");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n{storage_options}http: {{addr: \"127.0.0.1:0\"}}\n{}",
                storage.display(),
                options.replace("HTPASSWD", &htpasswd.display().to_string()),
            ),
        )
        .expect("can be written");
        let mut process = Root::get()
            .command(
                Life::Child,
                &[directory.path(), &storage],
                "docker-registry",
            )
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry can be run");
        let (send, lines) = mpsc::channel();
        let out = process.stdout.take().expect("piped");
        let err = process.stderr.take().expect("piped");
        forward(out, send.clone());
        forward(err, send);
        let mut registry = Self {
            process,
            lines,
            log: Vec::new(),
            host: String::new(),
            storage,
            _directory: directory,
        };
        let line = registry.wait_for("listening on 127.0.0.1:");
        let port: String = line
            .split("listening on 127.0.0.1:")
            .nth(1)
            .expect("waited for")
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        registry.host = format!("127.0.0.1:{port}");
        registry
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The digest that a tag of a repository stands for.
    pub fn digest(&self, repository: &str, tag: &str) -> String {
        let link = format!("repositories/{repository}/_manifests/tags/{tag}/current/link");
        let path = self.storage.join("docker/registry/v2").join(link);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// A manifest of the registry, read from its storage so that no request is made for it.
    pub fn manifest(&self, digest: &str) -> Value {
        let hex = digest.strip_prefix("sha256:").expect("a sha256 digest");
        let path = self.storage.join(format!(
            "docker/registry/v2/blobs/sha256/{}/{hex}/data",
            &hex[..2]
        ));
        let data = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_slice(&data).expect("a manifest is JSON")
    }

    /// The layers, digest and size, of each image of an index.
    pub fn layers(&self, index: &str) -> Vec<(String, u64)> {
        let mut layers = Vec::new();
        for entry in self.manifest(index)["manifests"]
            .as_array()
            .expect("an index has manifests")
        {
            for layer in self.manifest(text(&entry["digest"]))["layers"]
                .as_array()
                .expect("an image has layers")
            {
                let layer = (
                    text(&layer["digest"]).to_owned(),
                    layer["size"].as_u64().expect("a size"),
                );
                if !layers.contains(&layer) {
                    layers.push(layer);
                }
            }
        }
        layers
    }

    /// All requests answered until now.
    pub fn requests(&mut self) -> Vec<Request> {
        // The log is written in the order of the answers, so all is there once this request is.
        let nonce = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970")
            .as_nanos();
        let mut stream = TcpStream::connect(&self.host).expect("the registry listens");
        write!(stream, "GET /v2/?{nonce} HTTP/1.0\r\n\r\n").expect("the registry listens");
        stream
            .read_to_end(&mut Vec::new())
            .expect("the registry answers");
        self.wait_for(&nonce.to_string());
        self.log
            .iter()
            .filter_map(|line| Request::parse(line))
            .filter(|r| !r.path.starts_with("/v2/?"))
            .collect()
    }

    /// The answered downloads of these layers, one entry for each request.
    pub fn layer_requests(&mut self, layers: &[(String, u64)]) -> Vec<Request> {
        self.requests()
            .into_iter()
            .filter(|request| request.method == "GET")
            .filter(|request| {
                layers
                    .iter()
                    .any(|(digest, _)| request.path.ends_with(digest.as_str()))
            })
            .collect()
    }

    fn wait_for(&mut self, text: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!(
                    "docker-registry did not write {text:?} ({error}), but:\n{}",
                    self.log.join("\n")
                ),
            }
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // bwrap takes its child with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Request {
    /// Reads a line in the combined log format: `HOST - - [TIME] "GET PATH HTTP/1.1" STATUS BYTES …`.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("] \"")?;
        let (request, rest) = rest.split_once("\" ")?;
        let mut request = request.split(' ');
        let mut answer = rest.split(' ');
        Some(Self {
            method: request.next()?.to_owned(),
            path: request.next()?.to_owned(),
            status: answer.next()?.parse().ok()?,
            bytes: answer.next()?.parse().ok()?,
        })
    }
}

fn forward(stream: impl std::io::Read + Send + 'static, lines: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
}

/// A JSON value that must be a string.
///
/// # Panics
/// If it is not.
pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
}
