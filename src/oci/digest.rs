//! Content digests (OCI image spec, descriptor.md, "Digests").

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::io::{Tee, drain};

/// The digest algorithms that the image spec registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which every implementation supports.
    Sha256,
    /// SHA-512, which the spec lets an implementation support.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    /// The algorithm's name in a digest and in a layout's `blobs` directory.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Where a layout keeps the blobs of this algorithm (image-layout.md, "Blobs").
    pub(crate) fn blob_directory(self) -> String {
        format!("blobs/{}", self.as_str())
    }

    const fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }

    /// A hasher that computes a digest of this algorithm.
    pub(crate) fn hasher(self) -> Hasher {
        match self {
            Algorithm::Sha256 => Hasher(Algorithms::Sha256(sha2::Sha256::new())),
            Algorithm::Sha512 => Hasher(Algorithms::Sha512(sha2::Sha512::new())),
        }
    }
}

/// A well-formed digest: a registered algorithm and lower-case hex of its exact length.
///
/// Because nothing else can be held, the digest is safe to use as part of a path or a URL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

/// Why a string is not a digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// There is no `algorithm:` before the hex.
    #[error("{0:?} is not a digest: expected ALGORITHM:HEX, such as sha256:0123… with 64 digits")]
    Form(String),
    /// The algorithm is not one that the image spec registers.
    #[error("{0:?} has the digest algorithm {1:?}: only sha256 and sha512 are supported")]
    Algorithm(String, String),
    /// The encoded part is not lower-case hex of the algorithm's length.
    #[error("{0:?} is not a digest: {1} takes exactly {2} lower-case hex digits")]
    Hex(String, &'static str, usize),
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = algorithm.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The encoded part: lower-case hex.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Where a layout keeps the blob: `blobs/ALGORITHM/HEX` (image-layout.md, "Blobs").
    pub fn blob_path(&self) -> String {
        format!("{}/{}", self.algorithm.blob_directory(), self.hex)
    }

    /// The tag that lists what refers to the manifest (distribution spec, "Referrers Tag Schema").
    pub fn referrers_tag(&self) -> String {
        let hex = &self.hex[..self.hex.len().min(64)];
        format!("{}-{hex}", self.algorithm.as_str())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::Form(text.to_owned()))?;
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| DigestError::Algorithm(text.to_owned(), name.to_owned()))?;
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != algorithm.hex_len() || !hex.bytes().all(lower_hex) {
            return Err(DigestError::Hex(
                text.to_owned(),
                algorithm.as_str(),
                algorithm.hex_len(),
            ));
        }
        Ok(Digest {
            algorithm,
            hex: hex.into(),
        })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a digest from bytes as they come.
#[derive(Clone, Debug)]
pub(crate) struct Hasher(Algorithms);

#[derive(Clone, Debug)]
enum Algorithms {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Takes in the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Algorithms::Sha256(hasher) => hasher.update(bytes),
            Algorithms::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes taken in.
    pub(crate) fn finish(self) -> Digest {
        let (algorithm, hex) = match self.0 {
            Algorithms::Sha256(hasher) => (Algorithm::Sha256, hex::encode(hasher.finalize())),
            Algorithms::Sha512(hasher) => (Algorithm::Sha512, hex::encode(hasher.finalize())),
        };
        let hex = hex.into();
        Digest { algorithm, hex }
    }
}

/// A writer that hashes and counts what passes through to `inner`.
pub(crate) struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
    written: u64,
}

/// What has passed through a [`HashingWriter`].
pub(crate) struct Hashed<W> {
    /// Where it went.
    pub(crate) inner: W,
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its number of bytes.
    pub(crate) size: u64,
}

impl<W: io::Write> HashingWriter<W> {
    /// Wraps `inner`.
    pub(crate) fn new(algorithm: Algorithm, inner: W) -> Self {
        HashingWriter {
            inner,
            hasher: algorithm.hasher(),
            written: 0,
        }
    }

    /// What has passed through.
    pub(crate) fn finish(self) -> Hashed<W> {
        Hashed {
            inner: self.inner,
            digest: self.hasher.finish(),
            size: self.written,
        }
    }
}

impl<W: io::Write> io::Write for HashingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Reads `reader` to its end and returns the digest and the number of bytes read.
pub fn hash_reader(algorithm: Algorithm, reader: impl io::Read) -> io::Result<(Digest, u64)> {
    let mut content = Tee::new(reader, HashingWriter::new(algorithm, io::sink()));
    drain(&mut content)?;
    let Hashed { digest, size, .. } = content.into_writer().finish();
    Ok((digest, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hashes_and_parses() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), digest);
        let long = Digest::of(Algorithm::Sha512, b"x").to_string();
        assert_eq!(long.parse::<Digest>().unwrap().to_string(), long);
    }

    #[test]
    fn refuses_what_is_no_digest() {
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../etc/passwd",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &EMPTY.to_uppercase(),
            &EMPTY[..EMPTY.len() - 1],
            &format!("{EMPTY}0"),
            &EMPTY.replace("sha256", "sha512"),
        ] {
            let error = bad.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
