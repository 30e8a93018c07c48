//! What a request is about.

use std::fmt;
use std::ops::Range;

use reqwest::RequestBuilder;
use reqwest::header;

use crate::oci::descriptor::MediaType;
use crate::oci::digest::Digest;
use crate::oci::reference::Tag;

/// What a request is about: it decides which headers the request has, and what messages call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A manifest by its digest.
    Manifest(Digest),
    /// A manifest by its digest, which another manifest or list of the repository names.
    Listed(Digest),
    /// A manifest by a tag.
    Tag(Tag),
    /// A blob of the repository.
    Blob(Digest),
    /// The bytes of a blob on their way to the registry.
    Upload(Digest),
    /// A blob at a URL of its descriptor.
    ForeignBlob(Box<Elsewhere>),
    /// A blob that another repository of the registry has.
    MountedBlob(Box<Elsewhere>),
    /// The list of what refers to a manifest.
    Referrers(Digest),
    /// A token of a token service.
    Token,
    /// The registry itself (distribution spec, "Determining Support").
    Support,
}

/// A blob that is not asked of its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The blob.
    pub digest: Digest,
    /// The URL, or the other repository.
    pub place: String,
}

impl Subject {
    /// The request with the headers that it takes to read this, or `range` of it.
    pub(super) fn read(
        &self,
        range: Option<&Range<u64>>,
        request: RequestBuilder,
    ) -> RequestBuilder {
        // Who compresses on the way would change the bytes and break ranges.
        let request = request.header(header::ACCEPT_ENCODING, "identity");
        let request = match self {
            Subject::Blob(_)
            | Subject::Upload(_)
            | Subject::ForeignBlob(_)
            | Subject::MountedBlob(_) => request,
            Subject::Manifest(_) | Subject::Listed(_) | Subject::Tag(_) | Subject::Referrers(_) => {
                let accepted = MediaType::MANIFESTS.map(String::from).join(", ");
                request.header(header::ACCEPT, accepted)
            }
            Subject::Token | Subject::Support => request.header(header::ACCEPT, "application/json"),
        };
        match range {
            Some(range) => {
                let range = format!("bytes={}-{}", range.start, range.end - 1);
                request.header(header::RANGE, range)
            }
            None => request,
        }
    }

    /// What to do where it is not there.
    pub(super) fn advice_where_missing(&self) -> &'static str {
        match self {
            Subject::Blob(_) | Subject::ForeignBlob(_) | Subject::MountedBlob(_) => {
                "its manifest names it, so the image is not whole there: push it again, or take it from elsewhere"
            }
            Subject::Listed(_) => {
                "what lists it there is not whole there: push it again, or take it from elsewhere"
            }
            _ => "check the repository's name, and the tag or digest",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Manifest(digest) | Subject::Listed(digest) => write!(f, "manifest {digest}"),
            Subject::Tag(tag) => write!(f, "tag {tag}"),
            Subject::Blob(digest) | Subject::Upload(digest) => write!(f, "blob {digest}"),
            Subject::ForeignBlob(blob) => write!(f, "blob {} from {}", blob.digest, blob.place),
            Subject::MountedBlob(blob) => write!(f, "blob {} of {}", blob.digest, blob.place),
            Subject::Referrers(digest) => write!(f, "referrers of {digest}"),
            Subject::Token => f.write_str("token"),
            Subject::Support => f.write_str("registry"),
        }
    }
}
