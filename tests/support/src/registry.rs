//! A registry in memory on a free loopback port.

use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::content::text;
use crate::debian;
use crate::http::{Answer, Identity, Request, Server, bytes_of};
use crate::images::Images;

/// A running registry. It ends when dropped.
#[derive(Debug)]
pub struct Registry {
    server: Server,
    host: String,
    identity: Option<Identity>,
    images: Arc<Mutex<Images>>,
}

/// A user of [`Registry::with_password`]: `tester`, `secret`.
pub const CREDENTIALS: (&str, &str) = ("tester", "secret");

/// What a registry asks of those who come, and what it lets them do.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    password: bool,
    read_only: bool,
    /// The bytes that a request may have.
    limit: Option<usize>,
}

impl Registry {
    /// An empty registry that takes images.
    pub fn empty() -> Self {
        Self::start(None, Images::default(), Terms::default())
    }

    /// A registry that holds these images, and takes more.
    pub fn with(images: Images) -> Self {
        Self::start(None, images, Terms::default())
    }

    /// An empty registry that takes images in requests of no more than so many bytes.
    pub fn admitting(limit: usize) -> Self {
        let terms = Terms {
            limit: Some(limit),
            ..Terms::default()
        };
        Self::start(None, Images::default(), terms)
    }

    /// A registry that holds [`debian::images`] and takes no others.
    pub fn with_base_images() -> Self {
        let terms = Terms {
            read_only: true,
            ..Terms::default()
        };
        Self::start(None, debian::images(), terms)
    }

    /// As [`Registry::with_base_images`], for those who know [`CREDENTIALS`].
    pub fn with_password() -> Self {
        let terms = Terms {
            password: true,
            read_only: true,
            limit: None,
        };
        Self::start(None, debian::images(), terms)
    }

    /// As [`Registry::with_base_images`], by TLS with [`Registry::certificate`].
    pub fn with_tls() -> Self {
        let terms = Terms {
            read_only: true,
            ..Terms::default()
        };
        Self::start(Some(Identity::new()), debian::images(), terms)
    }

    /// As [`Registry::with_tls`], for those who know [`CREDENTIALS`].
    pub fn private() -> Self {
        let terms = Terms {
            password: true,
            read_only: true,
            limit: None,
        };
        Self::start(Some(Identity::new()), debian::images(), terms)
    }

    fn start(identity: Option<Identity>, images: Images, terms: Terms) -> Self {
        let images = Arc::new(Mutex::new(images));
        let shared = Arc::clone(&images);
        let server = Server::start(identity.as_ref(), move |seen| {
            let login = STANDARD.encode(format!("{}:{}", CREDENTIALS.0, CREDENTIALS.1));
            let shown = seen.headers.get("authorization");
            if terms.password && shown != Some(&format!("Basic {login}")) {
                return Answer::new(
                    401,
                    json!({"errors": [{"code": "UNAUTHORIZED"}]}).to_string(),
                )
                .header("WWW-Authenticate", "Basic realm=\"tests\"");
            }
            if terms.read_only && !matches!(seen.method.as_str(), "GET" | "HEAD") {
                return Answer::new(
                    405,
                    json!({"errors": [{"code": "UNSUPPORTED"}]}).to_string(),
                );
            }
            if terms.limit.is_some_and(|limit| seen.body.len() > limit) {
                return Answer::new(413, "");
            }
            shared.lock().expect("no thread panicked").answer(seen)
        });
        Self {
            host: server.host(),
            server,
            identity,
            images,
        }
    }

    /// The certificate of a registry with TLS, which nobody has signed but itself.
    ///
    /// # Panics
    /// If the registry has no TLS.
    pub fn identity(&self) -> &Identity {
        self.identity.as_ref().expect("a registry with TLS")
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What it holds, to look at or to add to.
    ///
    /// # Panics
    /// If an answer panicked.
    pub fn images(&self) -> MutexGuard<'_, Images> {
        self.images.lock().expect("no thread panicked")
    }

    /// The digest that a tag of a repository stands for.
    ///
    /// # Panics
    /// If there is no such tag.
    pub fn digest(&self, repository: &str, tag: &str) -> String {
        self.images().digest(repository, tag)
    }

    /// A manifest of the registry, for which no request is made.
    ///
    /// # Panics
    /// If it has none of this digest.
    pub fn manifest(&self, digest: &str) -> Value {
        self.images().manifest(digest)
    }

    /// The layers, digest and size, of each image of an index.
    ///
    /// # Panics
    /// If it is none.
    pub fn layers(&self, index: &str) -> Vec<(String, u64)> {
        let mut layers = Vec::new();
        let index = self.manifest(index);
        for entry in index["manifests"].as_array().expect("an index") {
            let image = self.manifest(text(&entry["digest"]));
            for layer in image["layers"].as_array().expect("an image has layers") {
                let size = layer["size"].as_u64().expect("a size");
                let layer = (text(&layer["digest"]).to_owned(), size);
                if !layers.contains(&layer) {
                    layers.push(layer);
                }
            }
        }
        layers
    }

    /// All requests answered until now.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// How many bytes went out, heads of answers left aside.
    pub fn sent(&self) -> u64 {
        self.server.sent()
    }

    /// How many bytes of each of these layers went out, in however many answers; layers of which none
    /// did are left out.
    pub fn layer_bytes(&self, layers: &[(String, u64)]) -> Vec<(String, u64)> {
        bytes_of(&self.requests(), layers)
    }
}
