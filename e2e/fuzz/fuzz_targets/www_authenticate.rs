//! The `WWW-Authenticate` headers of an answer, one a line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_pull_all::registry::Challenge;

const BASIC: &str = r#"Basic realm="r""#;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let challenges = Challenge::parse(text.lines());
    for challenge in &challenges {
        match challenge {
            Challenge::Basic => assert!(text.to_ascii_lowercase().contains("basic")),
            Challenge::Bearer {
                realm,
                service,
                scopes,
            } => {
                assert!(text.to_ascii_lowercase().contains("bearer"));
                // A quoted string may have a backslash before any character.
                let plain = text.replace('\\', "");
                for part in [realm].into_iter().chain(service).chain(scopes) {
                    assert!(
                        plain.contains(&part.replace('\\', "")),
                        "{part:?} was not sent"
                    );
                }
            }
        }
    }

    // The weaker challenge, before or after, never wins, and serves where there is no other.
    let expected = challenges.first().unwrap_or(&Challenge::Basic);
    let before = Challenge::parse([BASIC].into_iter().chain(text.lines()));
    let after = Challenge::parse(text.lines().chain([BASIC]));
    assert_eq!(before.first(), Some(expected));
    assert_eq!(after.first(), Some(expected));
});
