//! Digests, which become paths and URLs.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use oci_pull_all::oci::digest::{Algorithm, Digest, hash_reader};

fuzz_target!(|data: &[u8]| {
    for algorithm in Algorithm::ALL {
        let digest = Digest::of(algorithm, data);
        assert_eq!(check(&digest.to_string()), Some(digest.clone()));
        let (read, size) = hash_reader(algorithm, data).expect("memory can be read");
        assert_eq!((read, size), (digest, data.len() as u64));
    }
    if let Ok(text) = str::from_utf8(data) {
        check(text);
    }
});

fn check(text: &str) -> Option<Digest> {
    let json = serde_json::to_string(text).expect("a string is JSON");
    let from_json = serde_json::from_str::<Digest>(&json).ok();
    let parsed = text.parse::<Digest>().ok();
    assert_eq!(parsed, from_json, "a digest is the same in JSON");
    let digest = parsed?;

    assert_eq!(digest.to_string(), text);
    assert_eq!(serde_json::to_string(&digest).ok(), Some(json));
    let algorithm = digest.algorithm();
    let bytes = hex::decode(digest.hex()).expect("the encoded part is hex");
    assert_eq!(bytes.len(), Digest::of(algorithm, b"").hex().len() / 2);

    let path = digest.blob_path();
    let components: Vec<Component> = Path::new(&path).components().collect();
    let expected = ["blobs", algorithm.as_str(), digest.hex()];
    assert_eq!(
        components,
        expected.map(|name| Component::Normal(name.as_ref()))
    );
    assert!(
        path.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'/')
    );
    Some(digest)
}
