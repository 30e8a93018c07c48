//! `docs/troubleshooting.md`: each mistake on the page is made, and Bazel says what the page shows.

use std::fs;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::{checkout, program};
use oci_pull_all_support::{Answer, Content, Faulty, Proxy, Registry, text};
use serde_json::{Value, json};

/// What the page calls the registry.
const HOST: &str = "registry.example.com";
/// A digest that no registry has.
const NOTHING: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Who makes the mistakes, in one workspace.
struct User {
    workspace: Workspace,
    /// A good registry and the digest of its `library/debian`.
    registry: DockerRegistry,
    digest: String,
    /// The registry that the base was last declared in.
    host: String,
}

impl User {
    fn new() -> Self {
        let registry = DockerRegistry::with_base_images();
        Self {
            workspace: Workspace::new("troubleshooting", &[]),
            digest: registry.digest("library/debian", "stable"),
            host: registry.host().to_owned(),
            registry,
        }
    }

    /// Declares this in MODULE.bazel, and nothing else.
    fn declare(&self, lines: &str) {
        let module = format!(
            "bazel_dep(name = \"oci_pull_all\", version = \"0.1.0\")\n\
             oci = use_extension(\"@oci_pull_all//oci:extensions.bzl\", \"oci\")\n\
             oci_pull = use_repo_rule(\"@oci_pull_all//oci:defs.bzl\", \"oci_pull\")\n\
             {lines}\n"
        );
        fs::write(self.workspace.path("MODULE.bazel"), module).expect("can be written");
    }

    /// Declares the base with these attributes beside its image.
    fn declare_base(&mut self, host: &str, attributes: &str) {
        host.clone_into(&mut self.host);
        self.declare(&format!(
            "oci.pull(name = \"debian\", image = \"{host}/library/debian\", {attributes})\n\
             use_repo(oci, \"debian\")"
        ));
    }

    /// Builds an image on a base in this registry, which is not to be had.
    fn pull_from(&mut self, host: &str) -> String {
        self.declare_base(host, &format!("digest = \"{NOTHING}\""));
        self.build("//:image")
    }

    /// Builds a target on the base as it should be declared, but for what is declared beside.
    fn build_with(&mut self, target: &str, more: &str) -> String {
        let host = self.registry.host().to_owned();
        self.declare_base(&host, &format!("digest = \"{}\"{more}", self.digest));
        self.build(target)
    }

    fn build(&self, target: &str) -> String {
        self.workspace.fail(&["build", target])
    }

    /// Has what `docker login` writes.
    fn log_in(&mut self, config: &Value) {
        let file = self.workspace.path("config.json");
        fs::write(file, config.to_string()).expect("can be written");
        let directory = self.workspace.path("").display().to_string();
        self.set("DOCKER_CONFIG", &directory);
    }

    fn set(&mut self, variable: &str, value: &str) {
        self.workspace.set_env(variable, Some(value));
    }

    /// Takes back what a mistake did.
    fn come_to_reason(&mut self) {
        self.registry.host().clone_into(&mut self.host);
        for variable in ["DOCKER_CONFIG", "HTTPS_PROXY"] {
            self.workspace.set_env(variable, None);
        }
        let store = self.workspace.directory().join("store");
        self.set("OCI_PULL_ALL_STORE", &store.display().to_string());
        self.set("OCI_PULL_ALL_TOOL", &program().display().to_string());
    }
}

/// Has each mistake made by a test of its own.
macro_rules! mistakes {
    ($($name:ident $heading:literal $make:expr)*) => {
        /// The headings of the page.
        const HEADINGS: &[&str] = &[$($heading),*];

        $(#[test]
        fn $name() {
            is_shown_as_on_the_page($heading, $make);
        })*
    };
}

mistakes! {
    a_tag_where_the_digest_belongs "A tag where the digest belongs" |user| {
        let host = user.registry.host().to_owned();
        user.declare_base(&host, "digest = \"stable\"");
        let messages = user.build("//:image");
        // The command that it names works in that workspace.
        let program = "@oci_pull_all//oci:oci-pull-all";
        let image = format!("{host}/library/debian:stable");
        let resolved = user
            .workspace
            .succeed(&["run", program, "--", "resolve", &image]);
        assert!(
            resolved.stdout.contains(&user.digest),
            "{}",
            resolved.stdout
        );
        messages
    }
    a_tag_in_the_image_s_name "A tag in the image's name" |user| {
        user.declare(&format!(
            "oci.pull(name = \"debian\", image = \"{HOST}/library/debian:stable\", digest = \"{NOTHING}\")\n\
             use_repo(oci, \"debian\")"
        ));
        user.build("//:image")
    }
    two_bases_of_one_name "Two bases of one name" |user| {
        let pull = format!(
            "oci.pull(name = \"debian\", image = \"{HOST}/library/debian\", digest = \"{NOTHING}\")\n"
        );
        user.declare(&format!("{pull}{pull}use_repo(oci, \"debian\")"));
        user.build("//:image")
    }
    a_base_that_is_not_in_use_repo "A base that is not in `use_repo`" |user| {
        let (host, digest) = (user.registry.host(), &user.digest);
        user.declare(&format!(
            "oci.pull(name = \"debian\", image = \"{host}/library/debian\", digest = \"{digest}\")"
        ));
        user.build("//:image")
    }
    a_base_that_use_repo_renames "A base that `use_repo` renames" |user| {
        let (host, digest) = (user.registry.host(), &user.digest);
        user.declare(&format!(
            "oci.pull(name = \"stable\", image = \"{host}/library/debian\", digest = \"{digest}\")\n\
             use_repo(oci, debian = \"stable\")"
        ));
        user.build("//:image")
    }
    a_digest_that_the_registry_does_not_have "A digest that the registry does not have" |user| {
        let host = user.registry.host().to_owned();
        user.pull_from(&host)
    }
    a_repository_that_the_registry_does_not_have "A repository that the registry does not have" |user| {
        let host = user.registry.host();
        user.declare(&format!(
            "oci.pull(name = \"debian\", image = \"{host}/library/debain\", digest = \"{NOTHING}\")\n\
             use_repo(oci, \"debian\")"
        ));
        user.build("//:image")
    }
    a_platform_that_the_image_does_not_have "A platform that the image does not have" |user| {
        user.build_with("//:image", ", platforms = [\"linux/s390x\"]")
    }
    the_digest_of_one_image_and_several_platforms "The digest of one image, and several platforms" |user| {
        let index = user.registry.manifest(&user.digest);
        let image = text(&index["manifests"][0]["digest"]);
        let host = user.registry.host().to_owned();
        user.declare_base(
            &host,
            &format!("digest = \"{image}\", platforms = [\"linux/amd64\", \"linux/arm64/v8\"]"),
        );
        user.build("//:image")
    }
    no_login "No login" |user| {
        user.pull_from(DockerRegistry::with_password().host())
    }
    a_login_that_is_wrong_or_has_expired "A login that is wrong or has expired" |user| {
        let registry = DockerRegistry::with_password();
        let login = json!({"username": "tester", "password": "wrong"});
        user.log_in(&json!({"auths": {registry.host(): login}}));
        user.pull_from(registry.host())
    }
    a_login_that_the_token_service_refuses "A login that the token service refuses" |user| {
        let registry = refusing_tokens();
        let login = json!({"username": "tester", "password": "wrong"});
        user.log_in(&json!({"auths": {registry.host(): login}}));
        user.pull_from(&registry.host())
    }
    a_login_without_the_right "A login without the right" |user| {
        let message = "requested access to the resource is denied";
        let body = error_body("DENIED", message);
        let registry = Faulty::start(Content::default(), move |seen, _| {
            if seen.headers.contains_key("authorization") {
                return Answer::new(403, body.clone());
            }
            Answer::new(401, "{}").header("WWW-Authenticate", "Basic realm=\"tests\"")
        });
        let login = json!({"username": "tester", "password": "secret"});
        user.log_in(&json!({"auths": {registry.host(): login}}));
        user.pull_from(&registry.host())
    }
    a_credential_helper_that_is_not_installed "A credential helper that is not installed" |user| {
        user.log_in(&json!({"credsStore": "desktop"}));
        user.pull_from(DockerRegistry::with_password().host())
    }
    a_rate_limit "A rate limit" |user| {
        let message = "You have reached your unauthenticated pull rate limit.";
        let body = error_body("TOOMANYREQUESTS", message);
        let registry = answering(&Answer::new(429, body).header("Retry-After", "21600"));
        user.pull_from(&registry.host())
    }
    a_registry_whose_name_is_not_known "A registry whose name is not known" |user| {
        user.pull_from("registry.invalid")
    }
    a_registry_that_does_not_listen "A registry that does not listen" |user| {
        user.pull_from("127.0.0.1:1")
    }
    a_proxy_that_does_not_listen "A proxy that does not listen" |user| {
        user.set("HTTPS_PROXY", "http://127.0.0.1:1");
        user.pull_from(HOST)
    }
    a_proxy_that_wants_a_login "A proxy that wants a login" |user| {
        let proxy = answering(&Answer::new(407, ""));
        user.set("HTTPS_PROXY", &format!("http://{}", proxy.host()));
        user.pull_from(HOST)
    }
    a_certificate_of_an_authority_of_your_own "A certificate of an authority of your own" |user| {
        user.pull_from(Registry::with_tls().host())
    }
    a_registry_that_speaks_plain_http "A registry that speaks plain HTTP" |user| {
        // Leads to loopback, but is none by its name.
        user.set("HTTPS_PROXY", &Proxy::start().url());
        let host = user.registry.host().replace("127.0.0.1", HOST);
        user.pull_from(&host)
    }
    a_store_that_cannot_be_written "A store that cannot be written" |user| {
        // Bazel sees the checkout as a file system that is read-only.
        let store = checkout().join("store").display().to_string();
        user.set("OCI_PULL_ALL_STORE", &store);
        // No other mistake has fetched it so.
        user.build_with("//:image", ", platforms = [\"linux/amd64\"]")
    }
    no_cargo "No cargo" |user| {
        user.workspace.set_env("OCI_PULL_ALL_TOOL", None);
        user.build_with("//:image", "")
    }
    an_oci_pull_all_tool_that_is_not_there "An `OCI_PULL_ALL_TOOL` that is not there" |user| {
        user.set("OCI_PULL_ALL_TOOL", "/opt/oci-pull-all");
        user.build_with("//:image", "")
    }
    a_base_that_has_no_image_for_the_target_platform "A base that has no image for the target platform" |user| {
        user.build_with("//:image_for_s390x", "")
    }
    a_layout_of_a_base_that_has_no_layers "A layout of a base that has no layers" |user| {
        let (host, digest) = (user.registry.host(), &user.digest);
        user.declare(&format!(
            "oci_pull(name = \"debian\", image = \"{host}/library/debian\", digest = \"{digest}\")"
        ));
        user.build("//:image_layout")
    }
    a_path_that_a_layer_has_twice "A path that a layer has twice" |user| {
        user.build_with("//:app", "")
    }
    a_tar_among_the_layers "A tar among the layers" |user| {
        user.build_with("//:image_of_tar", "")
    }
    a_scan_of_an_image "A scan of an image" |user| {
        user.build_with("//:scan_of_image", "")
    }
    a_scan_without_a_scanner "A scan without a scanner" |user| {
        user.build_with("//:scan_by_policy", "")
    }
    a_trouble_that_no_policy_can_allow "A trouble that no policy can allow" |user| {
        user.build_with("//:lenient", "")
    }
    a_scan_that_does_not_run "A scan that does not run" |user| {
        let host = user.registry.host().to_owned();
        user.declare_base(&host, &format!("digest = \"{}\"", user.digest));
        user.workspace.succeed(&["build", "//:scan"]).stderr
    }
}

fn error_body(code: &str, message: &str) -> String {
    json!({"errors": [{"code": code, "message": message}]}).to_string()
}

/// A server that has one answer for everybody.
fn answering(answer: &Answer) -> Faulty {
    let answer = answer.clone();
    Faulty::start(Content::default(), move |_, _| answer.clone())
}

/// A registry with a token service that does not know who asks.
fn refusing_tokens() -> Faulty {
    let host: Arc<OnceLock<String>> = Arc::default();
    let realm = Arc::clone(&host);
    let registry = Faulty::start(Content::default(), move |seen, _| {
        if seen.path.starts_with("/token") {
            return Answer::new(401, r#"{"details":"incorrect username or password"}"#);
        }
        let realm = realm.get().expect("set before any request");
        Answer::new(401, "{}").header(
            "WWW-Authenticate",
            format!("Bearer realm=\"http://{realm}/token\",service=\"tests\""),
        )
    });
    host.set(registry.host()).expect("set once");
    registry
}

/// The heading of each entry of the page, and the lines of its first block; a line that is indented as
/// code is goes on with the one before.
fn entries(page: &str) -> Vec<(&str, Vec<String>)> {
    let sections = page.split("\n### ").skip(1);
    sections
        .map(|section| {
            let heading = section.lines().next().expect("has a first line");
            let block = section.split("\n```").nth(1).unwrap_or_default();
            let mut lines: Vec<String> = Vec::new();
            for line in block.lines().skip(1) {
                match (line.strip_prefix("    "), lines.last_mut()) {
                    (Some(rest), Some(last)) => *last = format!("{last} {}", rest.trim()),
                    _ => lines.push(line.to_owned()),
                }
            }
            (heading, lines)
        })
        .collect()
}

/// Whether a line of Bazel's is this one of the page, in which `…` stands for anything.
fn matches(written: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = written.strip_prefix(first) else {
        return false;
    };
    for part in parts {
        // The last one is where the line ends.
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || shown.ends_with('…')
}

fn page() -> String {
    fs::read_to_string(checkout().join("docs/troubleshooting.md")).expect("can be read")
}

/// Has something made by a thread that stays: a process that ends with its parent takes the thread that started it for
/// that, and the registry must outlive the test that comes first.
fn outlive_this_thread<T: Send + 'static>(make: impl FnOnce() -> T + Send + 'static) -> T {
    let (give, take) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = give.send(make());
        loop {
            std::thread::park();
        }
    });
    take.recv().expect("it is made")
}

/// Makes a mistake, and looks for what the page shows under its heading.
fn is_shown_as_on_the_page(heading: &str, make: fn(&mut User) -> String) {
    // Two, so that one may build while the other's Bazel starts.
    static USERS: [Mutex<Option<User>>; 2] = [Mutex::new(None), Mutex::new(None)];
    let free = USERS.iter().find_map(|user| user.try_lock().ok());
    let one_of_them = || &USERS[heading.len() % USERS.len()];
    let mut user = free.unwrap_or_else(|| {
        let user = one_of_them().lock();
        user.unwrap_or_else(PoisonError::into_inner)
    });
    let user = user.get_or_insert_with(|| outlive_this_thread(User::new));
    user.come_to_reason();
    let output = make(user).replace(&user.host, HOST);
    let page = page();
    let entry = entries(&page)
        .into_iter()
        .find(|(found, _)| *found == heading);
    let (_, lines) = entry.expect("the page has the heading");
    assert!(!lines.is_empty(), "{heading} shows nothing");
    for line in lines {
        let written = output.lines().filter(|written| matches(written, &line));
        assert_eq!(written.count(), 1, "how often {line:?} is in\n{output}");
    }
}

#[test]
fn each_mistake_of_the_page_is_made() {
    let page = page();
    let headings: Vec<_> = entries(&page).iter().map(|(heading, _)| *heading).collect();
    assert_eq!(headings, HEADINGS);
}
