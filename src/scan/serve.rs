//! A registry on loopback that has one layout and takes nothing, for scanners that read images by name (OCI distribution spec,
//! "Pull").

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Cursor, Read, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::files::{FileError, io_failed, open_regular, read_at_most};
use crate::layout::INDEX_FILE;
use crate::oci::descriptor::MediaType;
use crate::oci::digest::{Algorithm, Digest};
use crate::oci::manifest::{MAX_MANIFEST_SIZE, Manifest};

/// The repository, and the tag of the image in it.
const REPOSITORY: &str = "image";
const TAG: &str = "latest";
/// The most bytes of a request.
const MAX_REQUEST: u64 = 64 << 10;

/// Serves the layout in a directory as long as this process lives, to all that can reach its loopback; returns the image's
/// name. Of a layout of several images, that of their index.
pub(super) fn serve(layout: &Path) -> Result<String, FileError> {
    let images = Images::read(layout);
    let images = Arc::new(io_failed("serve", layout, images)?);
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = io_failed("serve on loopback", layout, bound)?;
    let address = io_failed("serve", layout, listener.local_addr())?;
    let serving = thread::Builder::new().spawn(move || {
        for connection in listener.incoming().flatten() {
            let images = Arc::clone(&images);
            // Whoever hangs up has what it wanted, and whoever is hung up on says so.
            drop(thread::Builder::new().spawn(move || images.answer_all(&connection)));
        }
    });
    io_failed("serve", layout, serving)?;
    Ok(format!("{address}/{REPOSITORY}:{TAG}"))
}

/// What there is.
struct Images {
    layout: PathBuf,
    /// What the tag points to.
    root: Vec<u8>,
}

struct Answer {
    media_type: String,
    digest: Option<Digest>,
    size: u64,
    content: Box<dyn Read>,
}

impl Images {
    fn read(layout: &Path) -> io::Result<Self> {
        let index = read_at_most(&layout.join(INDEX_FILE), MAX_MANIFEST_SIZE)?;
        let parsed = Manifest::parse(&index, Some(&MediaType::OCI_INDEX));
        let parsed = parsed.map_err(io::Error::other)?;
        let entries: Vec<_> = parsed.manifests().collect();
        let root = match &entries[..] {
            [only] => read_at_most(&layout.join(only.digest.blob_path()), MAX_MANIFEST_SIZE)?,
            _ => index,
        };
        Ok(Images {
            layout: layout.to_owned(),
            root,
        })
    }

    fn answer_all(&self, mut connection: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(connection);
        while let Some((method, path)) = read_request(&mut reader)? {
            let answer = match method.as_str() {
                "GET" | "HEAD" => self.answer(&path),
                _ => None,
            };
            let Some(mut answer) = answer else {
                let empty = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                connection.write_all(empty.as_bytes())?;
                continue;
            };
            let Answer {
                media_type, size, ..
            } = &answer;
            let digest = answer.digest.as_ref();
            let digest = digest.map(|digest| format!("Docker-Content-Digest: {digest}\r\n"));
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {size}\r\n{}\r\n",
                digest.unwrap_or_default()
            );
            connection.write_all(head.as_bytes())?;
            if method == "GET" {
                io::copy(&mut answer.content, &mut connection)?;
            }
        }
        Ok(())
    }

    fn answer(&self, path: &str) -> Option<Answer> {
        let path = path.split('?').next()?.strip_prefix("/v2")?;
        if path.is_empty() || path == "/" {
            return Some(Answer::of("application/json", b"{}".to_vec(), None));
        }
        let path = path.strip_prefix('/')?.strip_prefix(REPOSITORY)?;
        if let Some(name) = path.strip_prefix("/manifests/") {
            let bytes = if name == TAG {
                self.root.clone()
            } else {
                let digest: Digest = name.parse().ok()?;
                if Digest::of(digest.algorithm(), &self.root) == digest {
                    self.root.clone()
                } else {
                    read_at_most(&self.layout.join(digest.blob_path()), MAX_MANIFEST_SIZE).ok()?
                }
            };
            let manifest = Manifest::parse(&bytes, None).ok()?;
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            return Some(Answer::of(
                manifest.media_type().as_str(),
                bytes,
                Some(digest),
            ));
        }
        let digest: Digest = path.strip_prefix("/blobs/")?.parse().ok()?;
        let file: File = open_regular(&self.layout.join(digest.blob_path())).ok()?;
        Some(Answer {
            media_type: "application/octet-stream".to_owned(),
            size: file.metadata().ok()?.len(),
            digest: Some(digest),
            content: Box::new(file),
        })
    }
}

impl Answer {
    fn of(media_type: &str, bytes: Vec<u8>, digest: Option<Digest>) -> Self {
        Answer {
            media_type: media_type.to_owned(),
            digest,
            size: bytes.len() as u64,
            content: Box::new(Cursor::new(bytes)),
        }
    }
}

/// The method and the path of the next request; none where there is none any more. None that is answered has a body.
fn read_request(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<(String, String)>> {
    let mut reader = reader.take(MAX_REQUEST);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            return Ok(Some((method, path)));
        }
    }
}
