//! Databases that clamscan reads, and that nobody signed (`.cud`): a header, and signatures that a test makes up.

use std::fs;
use std::path::Path;

use oci_pull_all_support::digest;
use oci_pull_all_support::rootfs::Layer;

/// Writes a database of signatures that was built on a day, such as `10 Nov 2026`. A signature is a name and the text that it finds.
///
/// # Panics
/// If it cannot be written.
pub fn clamav_db(file: &Path, signatures: &[(&str, &str)], day: &str) {
    let lines = signatures
        .iter()
        .map(|(name, text)| format!("{name}:0:*:{}\n", hex::encode(text)));
    let lines: String = lines.collect();
    let built = format!("{day} 06-00 +0000");
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let header = format!("ClamAV-VDB:{built}:1:1:90:X:X:tester:0");
    let about = format!(
        "{header}\n{name}.ndb:{}:{}\n",
        lines.len(),
        digest(lines.as_bytes()).trim_start_matches("sha256:"),
    );
    // By its first file ClamAV knows that it is not compressed.
    let mut archive = Layer::new().file("COPYING", "x");
    if !lines.is_empty() {
        let [info, signatures] = ["info", "ndb"].map(|ending| format!("{name}.{ending}"));
        archive = archive.file(&info, &about).file(&signatures, &lines);
    }
    let parent = file.parent().expect("a directory");
    fs::create_dir_all(parent).expect("can be made");
    let bytes = [
        format!("{header:512}").into_bytes(),
        archive.0,
        vec![0; 1024],
    ];
    fs::write(file, bytes.concat()).expect("can be written");
}
