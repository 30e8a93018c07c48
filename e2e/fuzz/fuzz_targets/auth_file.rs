//! Files of credentials: Docker's `config.json`, podman's `auth.json`.

#![no_main]

use std::error::Error;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use oci_pull_all::oci::reference::{Repository, Scheme};
use oci_pull_all::registry::{AuthFile, Credential, CredentialError, Found};
use serde_json::Value;

const IMAGES: [&str; 3] = ["debian", "ghcr.io/team/app", "localhost:5000/a/b"];

fuzz_target!(|data: &[u8]| {
    let answers = ask(data);
    assert_eq!(ask(data), answers, "another answer to the same question");
    // Names of hosts have no case.
    let text = String::from_utf8_lossy(data).to_ascii_lowercase();
    for (image, answer) in IMAGES.iter().zip(answers.iter().flatten()) {
        let repository: Repository = image.parse().expect("it is a repository");
        let registry = repository.registry().as_str();
        match answer {
            Err(_) | Ok(None) => {}
            Ok(Some(Found::Helper { name, address })) => {
                let unsafe_in_a_name = ['/', '\\', '\0', ' '];
                assert!(
                    !name.is_empty() && !name.contains(unsafe_in_a_name),
                    "{name:?}"
                );
                assert!(address.contains(registry));
            }
            // A credential goes only to the host that it was found for; JSON may escape it, and a port may begin with zeros.
            Ok(Some(Found::Credential(_))) => {
                let (host, port) = registry.split_once(':').unwrap_or((registry, ""));
                assert!(text.contains(host) && text.contains(port) || text.contains('\\'));
            }
        }
    }

    // With other secrets of the same length, nothing that is shown is another.
    if let Ok(mut document) = serde_json::from_slice::<Value>(data) {
        let shown = ask(document.to_string().as_bytes());
        replace_secrets(&mut document, false);
        let other = ask(document.to_string().as_bytes());
        match (shown, other) {
            (Ok(shown), Ok(other)) => {
                for pair in shown.iter().zip(&other) {
                    // An `auth` that decodes may have become one that does not, or that is no text.
                    let [one, other] = [pair.0, pair.1].map(|answer| {
                        let error = answer.as_ref().err();
                        error.map(|error| error.contains("no UTF-8"))
                    });
                    if one == other {
                        assert_eq!(format!("{:?}", pair.0), format!("{:?}", pair.1));
                    }
                }
            }
            (shown, other) => assert_eq!(shown.err(), other.err()),
        }
    }
});

type Answer = Result<Option<Found>, String>;

/// What a file has for the images; errors as all that they can be made to say.
fn ask(data: &[u8]) -> Result<Vec<Answer>, String> {
    let texts = |error: CredentialError| {
        let mut texts = format!("{error} {error:?}");
        let mut source = error.source();
        while let Some(error) = source {
            texts = format!("{texts} {error}");
            source = error.source();
        }
        texts
    };
    let file = AuthFile::parse(Path::new("/f"), data).map_err(texts)?;
    assert_eq!(format!("{file:?}"), "AuthFile(\"/f\")");
    let find = |image: &str| file.find(&image.parse().expect("it is a repository"), Scheme::Https);
    let answers = IMAGES.iter().map(|image| find(image).map_err(texts));
    let answers: Vec<Answer> = answers.collect();
    for found in answers.iter().flatten().flatten() {
        if let Found::Credential(credential) = found {
            let shown = match credential {
                Credential::Password { .. } => "Password(…)",
                Credential::IdentityToken { .. } => "IdentityToken(…)",
                Credential::RegistryToken(_) => "RegistryToken(…)",
            };
            assert_eq!(format!("{credential:?}"), shown);
        }
    }
    Ok(answers)
}

/// Replaces what stands below a member that holds a secret by as many other characters.
fn replace_secrets(value: &mut Value, is_secret: bool) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let names = ["auth", "password", "identitytoken", "registrytoken"];
                replace_secrets(member, is_secret || names.contains(&key.as_str()));
            }
        }
        Value::Array(items) => {
            for item in items {
                replace_secrets(item, is_secret);
            }
        }
        Value::String(text) if is_secret => {
            let written = Value::String(text.clone()).to_string();
            *text = "x".repeat(written.len() - 2);
        }
        Value::Number(number) if is_secret && !number.is_f64() => {
            let ones: String = number
                .to_string()
                .replace(|c: char| c.is_ascii_digit(), "1");
            *number = ones.parse().expect("it has no more digits than before");
        }
        _ => {}
    }
}
