//! Layout directories, given to `verify`.
//!
//! An input is a layout's files with lines of `---` between them: `oci-layout`, the blobs and
//! `index.json`. In those after the first, `@0` to `@9` stand for the digests of the blobs before
//! them and `~0` to `~9` for their sizes.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use oci_pull_all::layout::{FaultKind, INDEX_FILE, MARKER_FILE, VerifyOptions, verify};
use oci_pull_all::oci::digest::{Algorithm, Digest};

const SEPARATOR: &[u8] = b"\n---\n";
const MAX_BLOBS: usize = 10;

fuzz_target!(|data: &[u8]| {
    let mut parts = split(data);
    if parts.len() < 2 || parts.len() - 2 > MAX_BLOBS {
        return;
    }
    let marker = parts.remove(0);
    let shm = Path::new("/dev/shm");
    let memory = if shm.is_dir() {
        shm.to_owned()
    } else {
        std::env::temp_dir()
    };
    let directory = tempfile::tempdir_in(memory).expect("a directory can be made");
    let root = directory.path();
    let write =
        |name: &str, bytes: &[u8]| fs::write(root.join(name), bytes).expect("it can be written");
    fs::create_dir_all(root.join("blobs/sha256")).expect("a directory can be made");
    write(MARKER_FILE, marker);
    let mut blobs: Vec<(Digest, usize)> = Vec::new();
    for (position, part) in parts.iter().enumerate() {
        let bytes = fill_in(part, &blobs);
        if position + 1 == parts.len() {
            write(INDEX_FILE, &bytes);
        } else {
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            write(&digest.blob_path(), &bytes);
            blobs.push((digest, bytes.len()));
        }
    }

    let faults = verify(root, VerifyOptions { sparse: false }).faults;
    let sparse = verify(root, VerifyOptions { sparse: true }).faults;
    let accepted: Vec<_> = faults
        .iter()
        .filter(|fault| fault.kind != FaultKind::LeftOut)
        .cloned()
        .collect();
    assert_eq!(
        sparse, accepted,
        "--sparse accepts other faults than those it says"
    );
    for fault in &faults {
        assert!(!fault.subject.is_empty() && !fault.problem.is_empty());
    }
    if faults.is_empty() {
        every_change_is_a_fault(root, &blobs);
    }
});

/// In a valid layout, a blob with another byte, or one that is too much, does not pass.
fn every_change_is_a_fault(root: &Path, blobs: &[(Digest, usize)]) {
    let mut paths: Vec<PathBuf> = blobs
        .iter()
        .map(|(digest, _)| root.join(digest.blob_path()))
        .collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        let bytes = fs::read(&path).expect("it was written");
        let mut flipped = bytes.clone();
        if let Some(last) = flipped.last_mut() {
            *last ^= 1;
        }
        let longer = [&bytes[..], b" "].concat();
        for changed in [flipped, longer] {
            if changed != bytes {
                fs::write(&path, changed).expect("it can be written");
                assert!(
                    !verify(root, VerifyOptions::default()).faults.is_empty(),
                    "{} may be changed",
                    path.display()
                );
            }
        }
        fs::write(&path, bytes).expect("it can be written");
    }
}

fn split(mut data: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some(end) = data
        .windows(SEPARATOR.len())
        .position(|window| window == SEPARATOR)
    {
        parts.push(&data[..end]);
        data = &data[end + SEPARATOR.len()..];
    }
    parts.push(data);
    parts
}

fn fill_in(part: &[u8], blobs: &[(Digest, usize)]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((&byte, after)) = rest.split_first() {
        let number = after
            .first()
            .map_or(usize::MAX, |digit| usize::from(digit.wrapping_sub(b'0')));
        match (byte, blobs.get(number)) {
            (b'@', Some((digest, _))) => filled.extend(digest.to_string().bytes()),
            (b'~', Some((_, size))) => filled.extend(size.to_string().bytes()),
            _ => {
                filled.push(byte);
                rest = after;
                continue;
            }
        }
        rest = &after[1..];
    }
    filled
}
