//! `docs/registries.md`, followed with a private registry.

use std::fs;
use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::page::blocks;
use oci_pull_all_e2e::{checkout, scratch};
use oci_pull_all_support::{CREDENTIALS, Registry};

#[test]
fn the_page_on_private_registries_is_true() {
    let page = fs::read_to_string(checkout().join("docs/registries.md")).expect("can be read");
    let block = |language: &str, word: &str| {
        let mut all = blocks(&page).into_iter();
        all.find_map(|(l, text)| (l == language && text.contains(word)).then_some(text))
            .unwrap_or_else(|| panic!("the page has no {language} with {word}"))
    };
    let registry = Registry::private();
    let on_page = |text: &str| text.replace("registry.example.com", registry.host());

    let temporary = scratch();
    let login = on_page(block("bash", "DOCKER_CONFIG"));
    let output = Command::new("bash")
        .args(["-euc", &format!("{login}\nprintf %s \"$DOCKER_CONFIG\"")])
        .env("USERNAME", CREDENTIALS.0)
        .env("TOKEN", CREDENTIALS.1)
        .env("TMPDIR", temporary.path())
        .output()
        .expect("bash can be run");
    assert!(output.status.success(), "{output:?}");
    let docker_config = String::from_utf8(output.stdout).expect("UTF-8");

    let mut workspace = Workspace::on_debian("demo", &registry);
    workspace.share(
        registry
            .identity()
            .certificate()
            .parent()
            .expect("in a directory"),
    );
    workspace.set_env("DOCKER_CONFIG", Some(&docker_config));
    let certificate = registry.identity().certificate().display().to_string();
    let rc = block("sh", ".bazelrc").replace("/etc/ssl/company.pem", &certificate);
    assert!(rc.contains(&certificate), "{rc}");
    workspace.append_rc(&rc);
    workspace.succeed(&["test", "//:scan"]);

    workspace.set_env("SSL_CERT_FILE", Some(&certificate));
    let shown = on_page(block("sh", "resolve"));
    let (_, resolve) = shown.split_once("\nbazel ").expect("the page runs bazel");
    let resolve: Vec<_> = resolve.split_whitespace().collect();
    let resolved = workspace.succeed(&resolve).stdout;
    assert!(
        resolved.contains(&registry.digest("library/debian", "stable")),
        "{resolved}"
    );

    let secret = fs::read_to_string(format!("{docker_config}/config.json")).expect("can be read");
    let secret = secret.rsplit('"').nth(1).expect("it has a string");
    let found = Command::new("grep")
        .args([
            "--recursive",
            "--files-with-matches",
            "--fixed-strings",
            secret,
        ])
        .arg(workspace.external())
        .arg(workspace.directory().join("store"))
        .output()
        .expect("grep can be run");
    // It has read all and found nothing.
    assert_eq!(found.status.code(), Some(1), "{found:?}");
}
