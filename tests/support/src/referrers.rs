//! An image that others refer to, in a registry with the referrers API.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::content::{Content, EMPTY, INDEX, MANIFEST, text};
use crate::faulty::Faulty;
use crate::http::{Answer, Seen};
use crate::user::{Ran, User};

/// The type of the signatures.
pub const SIGNATURE: &str = "application/vnd.tests.signature";
/// The type of the SBOMs.
pub const SBOM: &str = "application/vnd.tests.sbom";

/// An index of one image, and what refers to them.
#[derive(Clone, Debug)]
pub struct Repository {
    /// What it has.
    pub content: Content,
    /// The descriptor of the index.
    pub index: Value,
    /// The descriptor of the image.
    pub image: Value,
    /// What refers to each digest.
    pub lists: BTreeMap<String, Vec<Value>>,
}

impl Repository {
    /// An index of an image of one empty layer, to which nothing refers yet.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        // A tar archive of nothing.
        let content = Content::image(&[vec![0; 10240]]);
        let platform = json!({"os": "linux", "architecture": "amd64"});
        let mut image = content.descriptor(&content.digest.clone());
        image["platform"] = platform;
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image]});
        let content = content.with_root(INDEX, index.to_string().into_bytes());
        let index = content.descriptor(&content.digest);
        Self {
            content,
            index,
            image,
            lists: BTreeMap::new(),
        }
    }

    /// Adds a manifest of `kind` with this content that refers to `subject`; returns its descriptor.
    pub fn attach(&mut self, subject: &Value, kind: &str, data: &[u8]) -> Value {
        let layer = self.content.add(kind, data.to_vec());
        self.attach_layers(subject, kind, &[layer])
    }

    /// As [`Repository::attach`], of these layers.
    ///
    /// # Panics
    /// If the subject is no descriptor.
    pub fn attach_layers(&mut self, subject: &Value, kind: &str, layers: &[Value]) -> Value {
        let empty = self.content.add(EMPTY, b"{}".to_vec());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": empty,
            "layers": layers,
            "subject": bare(subject),
            "annotations": {"org.tests.kind": kind},
        });
        let manifest = self
            .content
            .add(MANIFEST, manifest.to_string().into_bytes());
        self.list(subject, manifest.clone());
        manifest
    }

    /// Has the registry say that `referrer` refers to `subject`.
    pub fn list(&mut self, subject: &Value, referrer: Value) {
        let digest = text(&subject["digest"]).to_owned();
        self.lists.entry(digest).or_default().push(referrer);
    }

    /// The usual: a signature of the index, an SBOM of the image and its signature.
    pub fn signed() -> (Self, [Value; 3]) {
        let mut repository = Self::new();
        let (index, image) = (repository.index.clone(), repository.image.clone());
        let signature = repository.attach(&index, SIGNATURE, b"of the index");
        let sbom = repository.attach(&image, SBOM, b"of the image");
        let of_sbom = repository.attach(&sbom, SIGNATURE, b"of the SBOM");
        (repository, [signature, sbom, of_sbom])
    }

    /// The list that a request asks for.
    pub fn listed(&self, seen: &Seen) -> Option<&[Value]> {
        let (_, digest) = seen.path.split_once("/referrers/")?;
        let digest = digest.split('?').next()?;
        Some(self.lists.get(digest).map_or(&[], Vec::as_slice))
    }

    /// A registry with the API, whose answers to it `spoil` may change.
    pub fn serve(self, spoil: impl Fn(&Seen, Answer) -> Answer + Send + Sync + 'static) -> Faulty {
        let content = self.content.clone();
        Faulty::start(content, move |seen, answer| match self.listed(seen) {
            Some(list) => spoil(seen, list_of(list)),
            None => answer,
        })
    }

    /// The reference of the index at a registry.
    pub fn reference(&self, host: &str) -> String {
        format!("{host}/app@{}", text(&self.index["digest"]))
    }
}

/// A descriptor without what is said of it.
pub fn bare(descriptor: &Value) -> Value {
    let part = |name: &str| descriptor[name].clone();
    json!({"mediaType": part("mediaType"), "digest": part("digest"), "size": part("size")})
}

/// The answer with these descriptors.
pub fn list_of(manifests: &[Value]) -> Answer {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    Answer::new(200, index.to_string()).header("Content-Type", INDEX)
}

/// Pulls an image with what refers to it.
pub fn pull(user: &User, reference: &str, output: &str, arguments: &[&str]) -> Ran {
    let pull = ["pull", reference, "--output", output, "--referrers"];
    user.run(&[&pull, arguments].concat())
}
