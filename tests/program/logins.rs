//! Logins as `rules_oci` tries them: files and credential helpers, at a registry with TLS that wants one
//! `Authorization` header and says nothing to whoever shows another one.
//!
//! Of its twelve cases eleven are here as they are. In the last one the registry has a token service, names it
//! nowhere, and MODULE.bazel does. There is no attribute for that: registries name their token services
//! (distribution spec, "Determining Support"; RFC 9110, 11.6.1), and a line of a module file would be one more place
//! that decides where a login goes. Here that registry challenges, as it should.

use std::fs;

use oci_pull_all_support::{Answer, Content, Faulty, Identity, Ran, Seen, User, blobs, noise};
use serde_json::{Value, json};

use crate::new_user;

/// `test:test`.
const TEST: &str = "Basic dGVzdDp0ZXN0";
/// `testing:oci`.
const STORED: &str = "Basic dGVzdGluZzpvY2k=";
/// `per-cred:testing`.
const HELPED: &str = "Basic cGVyLWNyZWQ6dGVzdGluZw==";

/// The helpers on PATH, each with what it does about an address.
const HELPERS: [(&str, &str); 4] = [
    ("evil", "echo \"can't run at this time\"; exit 1"),
    (
        "new",
        "echo '{\"Username\": \"per-cred\", \"Secret\": \"testing\"}'",
    ),
    (
        "oci",
        "echo '{\"Username\": \"testing\", \"Secret\": \"oci\"}'",
    ),
    ("nobody", "echo '{\"Username\": \"\", \"Secret\": \"\"}'"),
];

/// A pull by somebody with this configuration, in which `HOST` stands for the registry, which answers what `hook`
/// says.
fn pull(config: &Value, hook: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) -> Ran {
    let content = Content::image(&[noise(1, 1000)]);
    let identity = Identity::new();
    let digest = content.digest.clone();
    let registry = Faulty::start_tls(&identity, content, move |seen, answer| {
        hook(seen).unwrap_or(answer)
    });
    let user = new_user();
    let host = registry.host();
    fs::create_dir(user.path(".docker")).expect("can be made");
    let config = config.to_string().replace("HOST", &host);
    fs::write(user.path(".docker/config.json"), config).expect("can be written");
    for (name, script) in HELPERS {
        write_helper(&user, name, &host, script);
    }
    let certificate = identity.certificate().display().to_string();
    let path = format!("{}:/usr/bin:/bin", user.home().display());
    let environment = [("SSL_CERT_FILE", certificate.as_str()), ("PATH", &path)];
    let reference = format!("{host}/empty_image@{digest}");
    let ran = user.run_with(&environment, &["pull", &reference, "--output", "out"]);
    if ran.success {
        assert_eq!(blobs(&user.path("out")).len(), 3);
    }
    ran
}

fn write_helper(user: &User, name: &str, host: &str, script: &str) {
    let script = format!("read -r address\n[ \"$address\" = {host} ] || exit 2\n{script}");
    user.write_script(&format!("docker-credential-{name}"), &script);
}

fn shows(header: &'static str) -> impl Fn(&Seen) -> bool {
    move |seen| seen.headers.get("authorization").map_or("", String::as_str) == header
}

/// A bare 401 for whoever shows another header than this, which may be none.
fn wants(header: &'static str) -> impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static {
    let shows = shows(header);
    move |seen| (seen.path != "/v2/" && !shows(seen)).then(|| Answer::new(401, "[]"))
}

#[test]
fn a_user_and_a_password_in_plain_text() {
    let config = json!({"auths": {"HOST": {"username": "test", "password": "test"}}});
    pull(&config, wants(TEST)).succeeded();
}

#[test]
fn base64_under_an_http_url() {
    let config = json!({"auths": {"http://HOST": {"auth": "dGVzdDp0ZXN0"}}});
    pull(&config, wants(TEST)).succeeded();
}

#[test]
fn plain_text_under_an_https_url() {
    let config = json!({"auths": {"https://HOST": {"username": "test", "password": "test"}}});
    pull(&config, wants(TEST)).succeeded();
}

#[test]
fn a_store_for_an_entry_that_is_empty() {
    let config = json!({"auths": {"HOST": {}}, "credsStore": "oci"});
    pull(&config, wants(STORED)).succeeded();
}

/// As Docker and crane do it: an entry of before the store was set stays in the file.
#[test]
fn a_store_beside_an_entry_that_is_old() {
    let config = json!({"auths": {"HOST": {"auth": "b2xkOm9sZA=="}}, "credsStore": "oci"});
    pull(&config, wants(STORED)).succeeded();
    let config = json!({"auths": {"HOST": {"auth": "b2xkOm9sZA=="}}, "credsStore": "nobody"});
    pull(&config, wants("")).succeeded();
}

#[test]
fn a_store_without_an_entry() {
    pull(&json!({"credsStore": "oci"}), wants(STORED)).succeeded();
}

#[test]
fn a_store_that_fails() {
    let config = json!({"auths": {"HOST": {}}, "credsStore": "evil"});
    pull(&config, wants(STORED)).failed(&["docker-credential-evil get` to see it"]);
}

#[test]
fn a_store_that_is_not_there() {
    let config = json!({"auths": {"HOST": {}}, "credsStore": "missing"});
    pull(&config, wants(STORED)).failed(&["docker-credential-missing", "cannot be run"]);
}

#[test]
fn a_helper_of_one_registry_that_fails() {
    let config = json!({"credHelpers": {"HOST": "evil"}});
    pull(&config, wants(HELPED)).failed(&["docker-credential-evil get` to see it"]);
}

#[test]
fn a_helper_of_one_registry() {
    let config = json!({"credHelpers": {"HOST": "new"}});
    pull(&config, wants(HELPED)).succeeded();
}

#[test]
fn a_helper_whose_login_is_not_the_one_that_is_wanted() {
    let config = json!({"credHelpers": {"HOST": "oci"}});
    pull(&config, wants("Basic not_match")).failed(&["401", "do not serve"]);
}

#[test]
fn a_helper_without_a_user_and_a_password() {
    let config = json!({"credHelpers": {"HOST": "nobody"}});
    pull(&config, wants("")).succeeded();
}

#[test]
fn a_token_service_that_the_registry_names() {
    let config = json!({"auths": {"HOST": {"auth": "dGVzdDp0ZXN0"}}});
    let (wants_login, wants_token) = (shows(TEST), shows("Bearer here_is_the_token"));
    pull(&config, move |seen| {
        if seen.path.starts_with("/token") {
            let token = Answer::new(200, r#"{"token": "here_is_the_token"}"#);
            return Some(if wants_login(seen) {
                token
            } else {
                Answer::new(401, "[]")
            });
        }
        let realm = format!("https://{}/token", seen.headers["host"]);
        let challenge = format!("Bearer realm=\"{realm}\",service=\"localhost\"");
        let refusal = || Answer::new(401, "[]").header("WWW-Authenticate", challenge);
        (!wants_token(seen)).then(refusal)
    })
    .succeeded();
}
