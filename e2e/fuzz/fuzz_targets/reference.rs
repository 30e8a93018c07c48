//! Image references, which become URLs and decide which host gets credentials.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_pull_all::oci::reference::{Reference, Tag};
use url::Url;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };

    let printed = reference.to_string();
    assert_eq!(printed.parse::<Reference>().ok().as_ref(), Some(&reference));
    assert_eq!(text.contains('@'), reference.digest().is_some());
    assert!(
        text.ends_with(
            &reference
                .digest()
                .map(|digest| format!("@{digest}"))
                .unwrap_or_default()
        )
    );

    let (registry, repository) = (
        reference.repository().registry(),
        reference.repository().path(),
    );
    assert!(
        repository
            .split('/')
            .all(|part| !part.is_empty() && !part.contains(".."))
    );
    assert!(
        repository
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte))
    );
    // However it is written, it is where a URL with it leads.
    let origin = |host: &str| Url::parse(&format!("https://{host}/")).map(|url| url.origin());
    let written = text.split('/').next().expect("a part");
    assert!(registry.as_str() == "docker.io" || origin(registry.as_str()) == origin(written));

    // Ports over 65535 and some numbers are no hosts: that is an error before anything is sent.
    let host = registry.api_host();
    let Ok(base) = Url::parse(&format!("https://{host}/")) else {
        return;
    };
    let name = reference.tag().map_or("latest", Tag::as_str);
    let path = format!("/v2/{repository}/manifests/{name}");
    let url = Url::parse(&format!("https://{host}{path}")).expect("its base is a URL");
    assert_eq!(url.path(), path);
    assert_eq!(url.authority(), base.authority());
    assert_eq!((url.query(), url.fragment()), (None, None));
    assert!(url.username().is_empty() && url.password().is_none());
});
