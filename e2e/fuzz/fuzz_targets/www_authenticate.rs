//! The `WWW-Authenticate` headers of an answer, one a line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_pull_all::registry::Challenge;

const BASIC: &str = r#"Basic realm="r""#;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let challenge = Challenge::strongest(text.lines());
    match &challenge {
        None => {}
        Some(Challenge::Basic) => assert!(text.to_ascii_lowercase().contains("basic")),
        Some(Challenge::Bearer { realm, service }) => {
            assert!(text.to_ascii_lowercase().contains("bearer"));
            // A quoted string may have a backslash before any character.
            let plain = text.replace('\\', "");
            for part in [realm, service] {
                assert!(
                    plain.contains(&part.replace('\\', "")),
                    "{part:?} was not sent"
                );
            }
        }
    }

    // The weaker challenge, before or after, never wins, and serves where there is no other.
    let expected = challenge.unwrap_or(Challenge::Basic);
    let before = Challenge::strongest([BASIC].into_iter().chain(text.lines()));
    let after = Challenge::strongest(text.lines().chain([BASIC]));
    assert_eq!(before.as_ref(), Some(&expected));
    assert_eq!(after, before);
});
