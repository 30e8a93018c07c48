//! What whoever asked for a transfer is told while it runs.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use crate::oci::digest::Digest;
use crate::oci::reference::Repository;

/// Is told how a transfer goes. What becomes of that, a bar or a line or nothing, is its own matter.
pub trait Reporter: Debug + Send + Sync {
    /// There are `bytes` more to transfer.
    fn expect(&self, bytes: u64);

    /// A blob of `size` bytes begins, and ends when what is returned is dropped.
    fn blob(&self, digest: &Digest, size: u64) -> Arc<dyn BlobReporter>;

    /// There is something to know that ends nothing.
    fn note(&self, note: &Note<'_>);
}

/// Is told how one blob goes.
pub trait BlobReporter: Debug + Send + Sync {
    /// `position` bytes of the blob are there; a blob begun anew goes back.
    fn move_to(&self, position: u64);

    /// Whether bytes come, or else what they wait for.
    fn state(&self, state: BlobState);
}

/// Whether a blob's bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobState {
    /// They come.
    Moving,
    /// A request failed, and is made again after a while.
    Retrying,
    /// Another process writes the same blob to the store.
    Locked,
}

/// What a person should know, though it ends nothing.
#[derive(Clone, Copy, Debug)]
pub enum Note<'a> {
    /// A mirror gave no answer that can be used, so others are asked.
    MirrorFailed {
        /// The repository at the mirror.
        mirror: &'a Repository,
        /// What it was.
        error: &'a (dyn Error + 'static),
    },
    /// Another process has been writing a blob to the store for a while, so this one waits for it.
    Waiting {
        /// The blob.
        blob: &'a Digest,
        /// The process's number, if the system tells.
        process: Option<u32>,
    },
    /// The registry itself cannot be reached, so what refers to the image is what mirrors have.
    OnlyMirrors(&'a (dyn Error + 'static)),
    /// What a registry lists as referring to `subject` and is neither a manifest nor an index.
    LeftOut {
        /// What is referred to.
        subject: &'a Digest,
        /// How many there are.
        count: usize,
    },
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Reporter for Silent {
    fn expect(&self, _: u64) {}

    fn blob(&self, _: &Digest, _: u64) -> Arc<dyn BlobReporter> {
        Arc::new(Silent)
    }

    fn note(&self, _: &Note<'_>) {}
}

impl BlobReporter for Silent {
    fn move_to(&self, _: u64) {}

    fn state(&self, _: BlobState) {}
}
