//! What a registry holds, and how it gives it and takes it, as the distribution spec says; it has no referrers API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::content::{CONFIG, EMPTY, LAYER, MANIFEST, config_of, digest, manifest_of, noise, text};
use crate::http::{Answer, Seen};

/// What a registry holds.
#[derive(Clone, Debug, Default)]
pub struct Images {
    data: BTreeMap<String, Arc<Vec<u8>>>,
    repositories: BTreeMap<String, Repository>,
    uploads: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
struct Repository {
    blobs: BTreeSet<String>,
    /// Media types, by digest.
    manifests: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

impl Images {
    /// Adds a blob to a repository and returns its descriptor.
    pub fn add_blob(&mut self, repository: &str, media_type: &str, data: Vec<u8>) -> Value {
        let descriptor = self.add(media_type, data);
        let repository = self.repository(repository);
        repository
            .blobs
            .insert(text(&descriptor["digest"]).to_owned());
        descriptor
    }

    /// Adds a manifest to a repository and returns its descriptor.
    pub fn add_manifest(&mut self, repository: &str, media_type: &str, data: Vec<u8>) -> Value {
        let descriptor = self.add(media_type, data);
        let digest = text(&descriptor["digest"]).to_owned();
        let repository = self.repository(repository);
        repository.manifests.insert(digest, media_type.to_owned());
        descriptor
    }

    /// Has a tag of a repository stand for a manifest.
    pub fn tag(&mut self, repository: &str, tag: &str, digest: &str) {
        let repository = self.repository(repository);
        repository.tags.insert(tag.to_owned(), digest.to_owned());
    }

    /// Adds an image with layers of these sizes in bytes, all different, and returns its digest.
    pub fn add_image(&mut self, repository: &str, layers: &[usize]) -> String {
        let layers: Vec<_> = (1..)
            .zip(layers)
            .map(|(n, &size)| self.add_blob(repository, LAYER, noise(size as u64 ^ n, size)))
            .collect();
        let config = config_of(&layers).to_string().into_bytes();
        let config = self.add_blob(repository, CONFIG, config);
        let manifest = manifest_of(&config, &layers).to_string().into_bytes();
        let manifest = self.add_manifest(repository, MANIFEST, manifest);
        text(&manifest["digest"]).to_owned()
    }

    /// Adds an image of one uncompressed layer, whose config `edit` changes, and returns its digest.
    pub fn add_image_of(
        &mut self,
        repository: &str,
        layer: Vec<u8>,
        edit: impl FnOnce(&mut Value),
    ) -> String {
        let layer = self.add_blob(repository, LAYER, layer);
        let mut config = config_of(std::slice::from_ref(&layer));
        edit(&mut config);
        let config = self.add_blob(repository, CONFIG, config.to_string().into_bytes());
        let manifest = manifest_of(&config, &[layer]).to_string().into_bytes();
        let manifest = self.add_manifest(repository, MANIFEST, manifest);
        text(&manifest["digest"]).to_owned()
    }

    /// Adds an artifact of blobs, each with its title, if it has one, and its media type; returns its digest. It says when
    /// it was made.
    pub fn add_artifact(
        &mut self,
        repository: &str,
        kind: &str,
        blobs: &[(Option<&str>, &str, Vec<u8>)],
    ) -> String {
        let created = json!({"org.opencontainers.image.created": "2026-11-20T01:02:03Z"});
        self.add_artifact_with(repository, kind, blobs, &created)
    }

    /// As [`Images::add_artifact`], but it does not say when.
    pub fn add_artifact_without_date(
        &mut self,
        repository: &str,
        kind: &str,
        blobs: &[(Option<&str>, &str, Vec<u8>)],
    ) -> String {
        self.add_artifact_with(repository, kind, blobs, &json!({}))
    }

    fn add_artifact_with(
        &mut self,
        repository: &str,
        kind: &str,
        blobs: &[(Option<&str>, &str, Vec<u8>)],
        annotations: &Value,
    ) -> String {
        let config = self.add_blob(repository, EMPTY, b"{}".to_vec());
        let layers: Vec<Value> = blobs
            .iter()
            .map(|(title, media_type, data)| {
                let mut layer = self.add_blob(repository, media_type, data.clone());
                if let Some(title) = title {
                    layer["annotations"] = json!({"org.opencontainers.image.title": title});
                }
                layer
            })
            .collect();
        let mut manifest = manifest_of(&config, &layers);
        manifest["artifactType"] = kind.into();
        manifest["annotations"] = annotations.clone();
        let manifest = self.add_manifest(repository, MANIFEST, manifest.to_string().into_bytes());
        text(&manifest["digest"]).to_owned()
    }

    /// The digest that a tag of a repository stands for.
    ///
    /// # Panics
    /// If there is no such tag.
    pub fn digest(&self, repository: &str, tag: &str) -> String {
        let repository = self.repositories.get(repository);
        let digest = repository.and_then(|repository| repository.tags.get(tag));
        digest.unwrap_or_else(|| panic!("no tag {tag}")).clone()
    }

    /// A manifest.
    ///
    /// # Panics
    /// If there is none of this digest.
    pub fn manifest(&self, digest: &str) -> Value {
        serde_json::from_slice(&self.data[digest]).expect("a manifest is JSON")
    }

    fn add(&mut self, media_type: &str, data: Vec<u8>) -> Value {
        let digest = digest(&data);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": data.len()});
        self.data.insert(digest, Arc::new(data));
        descriptor
    }

    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    fn has_blob(&self, repository: &str, digest: &str) -> bool {
        let repository = self.repositories.get(repository);
        repository.is_some_and(|repository| repository.blobs.contains(digest))
    }

    /// Answers a request, as the section "Endpoints" of the distribution spec says.
    pub fn answer(&mut self, seen: &Seen) -> Answer {
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        let Some(path) = path.strip_prefix("/v2/") else {
            return not_found("NOT_FOUND");
        };
        if path.is_empty() {
            return Answer::new(200, "{}");
        }
        let query: BTreeMap<_, _> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key, value.replace("%3A", ":").replace("%2F", "/")))
            .collect();
        let Some((room, name)) = path.rsplit_once('/') else {
            return not_found("NOT_FOUND");
        };
        if let Some(repository) = room.strip_suffix("/manifests") {
            self.answer_manifest(seen, repository, name)
        } else if let Some(repository) = room.strip_suffix("/blobs/uploads") {
            self.answer_upload(seen, repository, name, &query)
        } else if let Some(repository) = room.strip_suffix("/blobs") {
            match seen.method.as_str() {
                "GET" | "HEAD" if self.has_blob(repository, name) => {
                    let data = &self.data[name];
                    document(seen, "application/octet-stream", name, data)
                }
                "GET" | "HEAD" => not_found("BLOB_UNKNOWN"),
                _ => refused("UNSUPPORTED"),
            }
        } else {
            not_found("NOT_FOUND")
        }
    }

    fn answer_manifest(&mut self, seen: &Seen, repository: &str, name: &str) -> Answer {
        let known = self.repositories.get(repository);
        match seen.method.as_str() {
            "GET" | "HEAD" => {
                let found = known.and_then(|known| {
                    let digest = known.tags.get(name).map_or(name, String::as_str);
                    let (digest, media_type) = known.manifests.get_key_value(digest)?;
                    Some(document(seen, media_type, digest, self.data.get(digest)?))
                });
                found.unwrap_or_else(|| not_found("MANIFEST_UNKNOWN"))
            }
            "PUT" => self.put_manifest(seen, repository, name),
            _ => refused("UNSUPPORTED"),
        }
    }

    fn put_manifest(&mut self, seen: &Seen, repository: &str, name: &str) -> Answer {
        let digest = digest(&seen.body);
        let Ok(manifest) = serde_json::from_slice::<Value>(&seen.body) else {
            return refused("MANIFEST_INVALID");
        };
        if name.contains(':') && name != digest {
            return refused("DIGEST_INVALID");
        }
        let list = |key: &str| manifest[key].as_array().into_iter().flatten();
        let blobs = list("layers").chain(manifest.get("config"));
        let known = self.repositories.get(repository);
        let has = |descriptor: &Value, has: fn(&Repository, &str) -> bool| {
            known.is_some_and(|known| has(known, text(&descriptor["digest"])))
        };
        let whole = blobs
            .into_iter()
            .all(|blob| has(blob, |r, d| r.blobs.contains(d)))
            && list("manifests").all(|entry| has(entry, |r, d| r.manifests.contains_key(d)));
        if !whole {
            return refused("MANIFEST_BLOB_UNKNOWN");
        }
        let media_type = &seen.headers["content-type"];
        self.add_manifest(repository, media_type, seen.body.clone());
        if !name.contains(':') {
            self.tag(repository, name, &digest);
        }
        Answer::new(201, "").header("Docker-Content-Digest", digest)
    }

    /// A blob on its way, in one request or in several.
    fn answer_upload(
        &mut self,
        seen: &Seen,
        repository: &str,
        name: &str,
        query: &BTreeMap<&str, String>,
    ) -> Answer {
        if seen.method == "POST" {
            if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from"))
                && self.has_blob(from, digest)
            {
                self.repository(repository).blobs.insert(digest.clone());
                return Answer::new(201, "").header("Docker-Content-Digest", digest);
            }
            let name = format!("upload{}", self.uploads.len());
            self.uploads.insert(name.clone(), Vec::new());
            return told(202, repository, &name, 0);
        }
        let Some(upload) = self.uploads.get_mut(name) else {
            return not_found("BLOB_UPLOAD_UNKNOWN");
        };
        let begin = seen.headers.get("content-range");
        let begin = begin.and_then(|range| range.split('-').next()?.parse().ok());
        let length = seen.headers.get("content-length");
        let length = length.and_then(|length| length.parse().ok());
        let broken = length.unwrap_or(0) != seen.body.len();
        match seen.method.as_str() {
            "GET" => told(204, repository, name, upload.len()),
            "PATCH" | "PUT" if begin.unwrap_or(upload.len()) != upload.len() => {
                Answer::new(416, "{}")
            }
            "PATCH" | "PUT" if broken => refused("BLOB_UPLOAD_INVALID"),
            "PATCH" => {
                upload.extend(&seen.body);
                let length = upload.len();
                told(202, repository, name, length)
            }
            "PUT" => {
                upload.extend(&seen.body);
                if query.get("digest") != Some(&digest(upload)) {
                    return refused("DIGEST_INVALID");
                }
                let data = std::mem::take(upload);
                let descriptor = self.add_blob(repository, "", data);
                Answer::new(201, "").header("Docker-Content-Digest", text(&descriptor["digest"]))
            }
            _ => refused("UNSUPPORTED"),
        }
    }
}

/// A document, or the range of it that is asked for.
fn document(seen: &Seen, media_type: &str, digest: &str, data: &[u8]) -> Answer {
    let answer = match seen.range(data.len()) {
        Some(range) => Answer::new(206, &data[range.clone()]).header(
            "Content-Range",
            format!("bytes {}-{}/{}", range.start, range.end - 1, data.len()),
        ),
        None => Answer::new(200, data),
    };
    answer
        .header("Content-Type", media_type)
        .header("Docker-Content-Digest", digest)
}

/// What is there of an upload.
fn told(status: u16, repository: &str, upload: &str, length: usize) -> Answer {
    let location = format!("/v2/{repository}/blobs/uploads/{upload}");
    Answer::new(status, "")
        .header("Location", location)
        .header("Range", format!("0-{}", length.max(1) - 1))
}

fn not_found(code: &str) -> Answer {
    Answer::new(404, json!({"errors": [{"code": code}]}).to_string())
}

fn refused(code: &str) -> Answer {
    Answer::new(400, json!({"errors": [{"code": code}]}).to_string())
}
