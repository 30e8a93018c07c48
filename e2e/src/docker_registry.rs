//! Debian's `docker-registry` on a free loopback port.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::SystemTime;

use oci_pull_all_support::{CREDENTIALS, Request, bytes_of, text};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::link::End;
use crate::log::Log;
use crate::root::{Life, Root};
use crate::storage::data;

/// A running registry. It ends when dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    log: Log,
    host: String,
    storage: PathBuf,
    // It has the configuration.
    _directory: TempDir,
}

impl DockerRegistry {
    /// A registry that holds the base images and takes no others.
    pub fn with_base_images() -> Self {
        Self::start(Some(Root::get().registry_storage()), |_| json!({}))
    }

    /// As [`DockerRegistry::with_base_images`], for those who know [`CREDENTIALS`].
    pub fn with_password() -> Self {
        Self::start(Some(Root::get().registry_storage()), password)
    }

    /// A registry on a storage of the caller's, which it leaves as it is.
    pub fn with_storage(storage: &Path) -> Self {
        Self::start(Some(storage.to_owned()), |_| json!({}))
    }

    /// As [`DockerRegistry::with_storage`], at the end of a link.
    pub fn at(end: &End, storage: &Path) -> Self {
        Self::start_at(Some(end), Some(storage.to_owned()), |_| json!({}))
    }

    /// An empty registry that takes images.
    pub fn empty() -> Self {
        Self::start(None, |_| json!({}))
    }

    /// Starts a registry on a storage of others, which it leaves as it is, or on one of its own.
    fn start(storage: Option<PathBuf>, options: impl FnOnce(&Path) -> Value) -> Self {
        Self::start_at(None, storage, options)
    }

    fn start_at(
        end: Option<&End>,
        storage: Option<PathBuf>,
        options: impl FnOnce(&Path) -> Value,
    ) -> Self {
        let address = end.map_or("127.0.0.1", |end| &end.address);
        let directory = crate::scratch();
        let read_only = storage.is_some();
        let storage = storage.unwrap_or_else(|| directory.path().join("storage"));
        std::fs::create_dir_all(&storage).expect("the storage can be made");
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": storage},
                "maintenance": {"readonly": {"enabled": read_only}},
            },
            "http": {"addr": format!("{address}:0")},
        });
        for (key, value) in options(directory.path()).as_object().expect("an object") {
            config[key] = value.clone();
        }
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config.to_string()).expect("can be written");
        let mut command = Root::get().command(
            Life::Child,
            &[directory.path(), &storage],
            "docker-registry",
        );
        command.arg("serve").arg(&file);
        if let Some(end) = end {
            command = end.command(&command);
        }
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry can be run");
        let mut log = Log::of(&mut process);
        let listening = format!("listening on {address}:");
        let line = log.wait_for(&listening);
        let port: String = line
            .split(&listening)
            .nth(1)
            .expect("waited for")
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        Self {
            process,
            log,
            host: format!("{address}:{port}"),
            storage,
            _directory: directory,
        }
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
        let path = self.storage.join("docker/registry/v2").join(data(digest));
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
        self.log.wait_for(&nonce.to_string());
        self.log
            .seen()
            .iter()
            .filter_map(|line| request(line))
            .filter(|r| !r.path.starts_with("/v2/?"))
            .collect()
    }

    /// How many bytes of each of these layers went out, in however many answers; layers of which none
    /// did are left out.
    pub fn layer_bytes(&mut self, layers: &[(String, u64)]) -> Vec<(String, u64)> {
        bytes_of(&self.requests(), layers)
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // bwrap takes its child with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads a line in the combined log format: `HOST - - [TIME] "GET PATH HTTP/1.1" STATUS BYTES …`.
fn request(line: &str) -> Option<Request> {
    let (_, rest) = line.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    let mut request = request.split(' ');
    let mut answer = rest.split(' ');
    Some(Request {
        method: request.next()?.to_owned(),
        path: request.next()?.to_owned(),
        status: answer.next()?.parse().ok()?,
        bytes: answer.next()?.parse().ok()?,
    })
}

/// The part of a registry's configuration by which it asks for [`CREDENTIALS`].
fn password(directory: &Path) -> Value {
    let path = directory.join("htpasswd");
    // The password by bcrypt with cost 4.
    let hash = "$2b$04$w0/t05f5abhEC7WORwcJ5e6fLablhna3RvHRT4gSo472gwWiGZEZa";
    std::fs::write(&path, format!("{}:{hash}\n", CREDENTIALS.0)).expect("can be written");
    json!({"auth": {"htpasswd": {"realm": "tests", "path": path}}})
}
