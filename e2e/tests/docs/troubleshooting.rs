//! `docs/troubleshooting.md`: each mistake on the page is made, and Bazel says what the page shows.

use std::fs;
use std::sync::{Arc, OnceLock};

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::{checkout, program};
use oci_pull_all_support::{Answer, Content, Faulty, Registry, text};
use serde_json::{Value, json};

/// What the page calls the registry.
const HOST: &str = "registry.example.com";
/// A digest that no registry has.
const NOTHING: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Who makes the mistakes, in one workspace.
struct User {
    workspace: Workspace,
    /// A good registry and the digest of its `library/debian`.
    registry: Registry,
    digest: String,
    /// The registry that the base was last declared in.
    host: String,
}

impl User {
    fn new() -> Self {
        let registry = Registry::with_base_images();
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

    /// Takes back what a mistake did to the environment.
    fn come_to_reason(&mut self) {
        for variable in ["DOCKER_CONFIG", "HTTPS_PROXY"] {
            self.workspace.set_env(variable, None);
        }
        let store = self.workspace.directory().join("store");
        self.set("OCI_PULL_ALL_STORE", &store.display().to_string());
        self.set("OCI_PULL_ALL_TOOL", &program().display().to_string());
    }
}

/// A heading of the page, and what makes the mistake and returns what Bazel wrote.
type Mistake = (&'static str, fn(&mut User) -> String);

const MISTAKES: &[Mistake] = &[
    ("A tag where the digest belongs", |user| {
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
    }),
    ("A tag in the image's name", |user| {
        user.declare(&format!(
            "oci.pull(name = \"debian\", image = \"{HOST}/library/debian:stable\", digest = \"{NOTHING}\")\n\
             use_repo(oci, \"debian\")"
        ));
        user.build("//:image")
    }),
    ("Two bases of one name", |user| {
        let pull = format!(
            "oci.pull(name = \"debian\", image = \"{HOST}/library/debian\", digest = \"{NOTHING}\")\n"
        );
        user.declare(&format!("{pull}{pull}use_repo(oci, \"debian\")"));
        user.build("//:image")
    }),
    ("A base that is not in `use_repo`", |user| {
        let (host, digest) = (user.registry.host(), &user.digest);
        user.declare(&format!(
            "oci.pull(name = \"debian\", image = \"{host}/library/debian\", digest = \"{digest}\")"
        ));
        user.build("//:image")
    }),
    ("A base that `use_repo` renames", |user| {
        let (host, digest) = (user.registry.host(), &user.digest);
        user.declare(&format!(
            "oci.pull(name = \"stable\", image = \"{host}/library/debian\", digest = \"{digest}\")\n\
             use_repo(oci, debian = \"stable\")"
        ));
        user.build("//:image")
    }),
    ("A digest that the registry does not have", |user| {
        let host = user.registry.host().to_owned();
        user.pull_from(&host)
    }),
    ("A repository that the registry does not have", |user| {
        let host = user.registry.host();
        user.declare(&format!(
            "oci.pull(name = \"debian\", image = \"{host}/library/debain\", digest = \"{NOTHING}\")\n\
             use_repo(oci, \"debian\")"
        ));
        user.build("//:image")
    }),
    ("A platform that the image does not have", |user| {
        user.build_with("//:image", ", platforms = [\"linux/s390x\"]")
    }),
    ("The digest of one image, and several platforms", |user| {
        let index = user.registry.manifest(&user.digest);
        let image = text(&index["manifests"][0]["digest"]);
        let host = user.registry.host().to_owned();
        user.declare_base(
            &host,
            &format!("digest = \"{image}\", platforms = [\"linux/amd64\", \"linux/arm64/v8\"]"),
        );
        user.build("//:image")
    }),
    ("No login", |user| {
        user.pull_from(Registry::with_password().host())
    }),
    ("A login that is wrong or has expired", |user| {
        let registry = Registry::with_password();
        let login = json!({"username": "tester", "password": "wrong"});
        user.log_in(&json!({"auths": {registry.host(): login}}));
        user.pull_from(registry.host())
    }),
    ("A login that the token service refuses", |user| {
        let registry = refusing_tokens();
        let login = json!({"username": "tester", "password": "wrong"});
        user.log_in(&json!({"auths": {registry.host(): login}}));
        user.pull_from(&registry.host())
    }),
    ("A login without the right", |user| {
        let message = "requested access to the resource is denied";
        let registry = answering(&Answer::new(403, error_body("DENIED", message)));
        let login = json!({"username": "tester", "password": "secret"});
        user.log_in(&json!({"auths": {registry.host(): login}}));
        user.pull_from(&registry.host())
    }),
    ("A credential helper that is not installed", |user| {
        user.log_in(&json!({"credsStore": "desktop"}));
        user.pull_from(Registry::with_password().host())
    }),
    ("A rate limit", |user| {
        let message = "You have reached your unauthenticated pull rate limit.";
        let body = error_body("TOOMANYREQUESTS", message);
        let registry = answering(&Answer::new(429, body).header("Retry-After", "21600"));
        user.pull_from(&registry.host())
    }),
    ("A registry whose name is not known", |user| {
        user.pull_from("registry.invalid")
    }),
    ("A registry that does not listen", |user| {
        user.pull_from("127.0.0.1:1")
    }),
    ("A proxy that does not listen", |user| {
        user.set("HTTPS_PROXY", "http://127.0.0.1:1");
        user.pull_from(HOST)
    }),
    ("A proxy that wants a login", |user| {
        let proxy = answering(&Answer::new(407, ""));
        user.set("HTTPS_PROXY", &format!("http://{}", proxy.host()));
        user.pull_from(HOST)
    }),
    ("A certificate of an authority of your own", |user| {
        user.pull_from(Registry::with_tls().host())
    }),
    ("A registry that speaks plain HTTP", |user| {
        // Leads to loopback, but is none by its name.
        let host = user.registry.host().replace("127.0.0.1", "0.0.0.0");
        user.pull_from(&host)
    }),
    ("A store that cannot be written", |user| {
        // Bazel sees the checkout as a file system that is read-only.
        let store = checkout().join("store").display().to_string();
        user.set("OCI_PULL_ALL_STORE", &store);
        user.build_with("//:image", "")
    }),
    ("No cargo", |user| {
        user.workspace.set_env("OCI_PULL_ALL_TOOL", None);
        user.build_with("//:image", "")
    }),
    ("An `OCI_PULL_ALL_TOOL` that is not there", |user| {
        user.set("OCI_PULL_ALL_TOOL", "/opt/oci-pull-all");
        user.build_with("//:image", "")
    }),
    ("A base that has no image for the target platform", |user| {
        user.build_with("//:image_for_s390x", "")
    }),
    ("A layout of a base that has no layers", |user| {
        let (host, digest) = (user.registry.host(), &user.digest);
        user.declare(&format!(
            "oci_pull(name = \"debian\", image = \"{host}/library/debian\", digest = \"{digest}\")"
        ));
        user.build("//:image_layout")
    }),
    ("A path that a layer has twice", |user| {
        user.build_with("//:app", "")
    }),
    ("A tar among the layers", |user| {
        user.build_with("//:image_of_tar", "")
    }),
    ("A scan of an image", |user| {
        user.build_with("//:scan_of_image", "")
    }),
    ("A scan that does not run", |user| {
        let host = user.registry.host().to_owned();
        user.declare_base(&host, &format!("digest = \"{}\"", user.digest));
        user.workspace.succeed(&["build", "//:scan"]).stderr
    }),
];

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
fn is_shown_as(written: &str, shown: &str) -> bool {
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

#[test]
fn the_page_on_mistakes_is_true() {
    let page = fs::read_to_string(checkout().join("docs/troubleshooting.md")).expect("can be read");
    let entries = entries(&page);
    let headings: Vec<_> = entries.iter().map(|(heading, _)| *heading).collect();
    let mistakes: Vec<_> = MISTAKES.iter().map(|(heading, _)| *heading).collect();
    assert_eq!(headings, mistakes);

    let mut user = User::new();
    let mut wrong = Vec::new();
    for ((heading, lines), (_, make)) in entries.iter().zip(MISTAKES) {
        let output = make(&mut user).replace(&user.host, HOST);
        user.come_to_reason();
        assert!(!lines.is_empty(), "{heading} shows nothing");
        for line in lines {
            let count = output
                .lines()
                .filter(|written| is_shown_as(written, line))
                .count();
            if count != 1 {
                wrong.push(format!(
                    "{heading}:\n{line}\nis there {count} times in\n{output}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
