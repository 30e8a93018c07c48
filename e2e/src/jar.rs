//! Java archives of a few bytes.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// The bytes of an archive with these files, as they are (PKWARE's APPNOTE.TXT).
///
/// # Panics
/// If it would be large.
pub fn jar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in files {
        let size = u32::try_from(content.len()).expect("a small file");
        let length = u16::try_from(name.len()).expect("a short name");
        let offset = u32::try_from(archive.len()).expect("a small archive");
        let mut about = Vec::new();
        // No flags, stored, and no time.
        for number in [20, 0, 0, 0, 0_u16] {
            about.extend(number.to_le_bytes());
        }
        for number in [crc32(content.as_bytes()), size, size] {
            about.extend(number.to_le_bytes());
        }
        about.extend(length.to_le_bytes());
        about.extend([0; 2]);
        archive.extend(b"PK\x03\x04");
        archive.extend(&about);
        archive.extend(name.as_bytes());
        archive.extend(content.as_bytes());
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&about);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(files.len()).expect("few files");
    let [start, size] =
        [archive.len(), directory.len()].map(|size| u32::try_from(size).expect("a small archive"));
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([count, count].into_iter().flat_map(u16::to_le_bytes));
    archive.extend([size, start].into_iter().flat_map(u32::to_le_bytes));
    archive.extend([0; 2]);
    archive
}

fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    });
    !crc
}

/// The SHA-1 digest of bytes, by which Trivy's database knows an archive.
///
/// # Panics
/// If `sha1sum` cannot be run.
pub fn sha1(bytes: &[u8]) -> Vec<u8> {
    let mut program = Command::new("sha1sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sha1sum can be run");
    let mut input = program.stdin.take().expect("it is piped");
    input.write_all(bytes).expect("it reads");
    drop(input);
    let output = program.wait_with_output().expect("it ends");
    hex::decode(&output.stdout[..40]).expect("a digest")
}
