//! Module files, which are a user's own and of which nothing but a digest may change.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_pull_all::oci::digest::{Algorithm, Digest};
use oci_pull_all::pins::module_file::ModuleFile;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let file = ModuleFile::new(text.to_owned());
    file.included();
    let name = file.own_name().unwrap_or_else(|| "oci_pull_all".to_owned());
    let before = file.declared(&name);
    let images: Vec<_> = before
        .iter()
        .filter_map(|one| one.image.as_ref().ok())
        .collect();
    let digest = Digest::of(Algorithm::Sha256, b"");
    let written = digest.to_string();

    assert_eq!(file.with_digests([]), text);
    let changed = file.with_digests(images.iter().map(|image| (*image, &digest)));
    let lengths: usize = images.iter().map(|image| image.digest.len()).sum();
    assert_eq!(
        changed.len() + lengths,
        text.len() + images.len() * written.len()
    );
    let mut rest = text;
    let mut pieces = changed.split(&written);
    for image in &images {
        // What stood before it may be that very digest.
        if !text.contains(&written) {
            rest = rest
                .strip_prefix(pieces.next().expect("a piece for each image"))
                .and_then(|rest| rest.strip_prefix(image.digest.as_str()))
                .expect("nothing else has changed");
        }
    }
    assert!(text.contains(&written) || pieces.eq([rest]));

    let file = ModuleFile::new(changed);
    let after = file.declared(&name);
    assert_eq!(after.len(), before.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.name, after.name);
        match (&before.image, &after.image) {
            (Ok(before), Ok(after)) => {
                assert_eq!(after.digest, written);
                assert_eq!(before.comment, after.comment);
                assert_eq!(before.repository, after.repository);
            }
            (Err(before), Err(after)) => assert_eq!(before.to_string(), after.to_string()),
            _ => panic!("one can be pinned and the other cannot"),
        }
    }
});
