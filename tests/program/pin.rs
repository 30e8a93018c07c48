//! New digests for what MODULE.bazel declares, and no other change of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use oci_pull_all_support::{Content, Faulty, Registry, User, noise};

use crate::new_user;

const OLD: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A module file as nobody formats it, in which each `{KEY}` stands for something.
const MODULE: &str = r#"# oci.pull(name = "debian", digest = "{OLD}")
bazel_dep(repo_name="layers", name="oci_pull_all", version="0.1.0")
theirs = use_extension("@rules_oci//oci:extensions.bzl", "oci")
theirs.pull(name = "theirs", image = "{IMAGE}", digest = "{OLD}")  # stable
include("//third_party:images.MODULE.bazel")

images = use_extension("@layers//oci:extensions.bzl", "oci")
images.pull(
    name = "debian",
    digest = "{ONE}",	# stable
    image = "{IMAGE}",     # größer, "as it is"
    platforms = ["linux/arm64/v8"])
images.pull(name = 'docker', digest = '{TWO}', image = "{IMAGE}-docker") # stable
"#;

const INCLUDED: &str = r#"whole = use_repo_rule("@layers//oci:defs.bzl", "oci_pull_all")
whole(name = "third", registry = "{HOST}", repository = "library/debian", digest = r"""{THREE}""")
"#;

struct Case {
    user: User,
    registry: Registry,
    image: String,
}

impl Case {
    fn new() -> Self {
        let registry = Registry::with_base_images();
        let image = format!("{}/library/debian", registry.host());
        let user = new_user();
        fs::create_dir(user.path("third_party")).expect("can be made");
        let case = Self {
            user,
            registry,
            image,
        };
        for (file, text) in case.files([OLD; 3]) {
            fs::write(case.user.path(file), text).expect("can be written");
        }
        case
    }

    /// The files with these digests.
    fn files(&self, digests: [&str; 3]) -> [(&'static str, String); 2] {
        let fill = |text: &str| {
            text.replace("{OLD}", OLD)
                .replace("{IMAGE}", &self.image)
                .replace("{HOST}", self.registry.host())
                .replace("{ONE}", digests[0])
                .replace("{TWO}", digests[1])
                .replace("{THREE}", digests[2])
        };
        [
            ("MODULE.bazel", fill(MODULE)),
            ("third_party/images.MODULE.bazel", fill(INCLUDED)),
        ]
    }

    fn expect(&self, digests: [&str; 3]) {
        for (file, text) in self.files(digests) {
            let found = fs::read_to_string(self.user.path(file)).expect("can be read");
            assert_eq!(found, text, "{file}");
        }
    }
}

#[test]
fn nothing_but_the_digests_changes() {
    let case = Case::new();
    let (user, registry) = (&case.user, &case.registry);
    let debian = registry.digest("library/debian", "stable");
    let docker = registry.digest("library/debian-docker", "stable");

    let check = user.run(&["pin", "--check", "debian", "docker"]);
    assert!(check.stdout.contains(&debian), "{}", check.stdout);
    check.failed(&["outdated: debian docker", "//:pin -- debian docker"]);
    case.expect([OLD; 3]);

    user.run(&["pin", "nobody"])
        .failed(&["\"nobody\"", "declares debian, docker, third"]);
    user.run(&["pin", "--tag", "stable"]).failed(&["<NAME>"]);

    // Its mode stays, too.
    let module = user.path("MODULE.bazel");
    fs::set_permissions(&module, PermissionsExt::from_mode(0o640)).expect("can be set");
    let ran = user.run(&["pin", "debian"]).succeeded();
    for line in [
        format!("debian: {}:stable", case.image),
        format!("  old: {OLD}"),
        format!("  new: {debian}"),
    ] {
        assert!(ran.stdout.lines().any(|l| l == line), "{}", ran.stdout);
    }
    assert!(ran.stdout.contains("created "), "{}", ran.stdout);
    case.expect([&debian, OLD, OLD]);
    let mode = fs::metadata(&module).expect("is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o640);

    // One that cannot be pinned keeps nobody from the others.
    user.run(&["pin"]).failed(&["cannot pin third", "--tag"]);
    case.expect([&debian, &docker, OLD]);
    user.run(&["pin", "--tag", "stable", "third"]).succeeded();
    case.expect([&debian, &docker, &debian]);

    let ran = user.run(&["pin", "debian", "docker"]).succeeded();
    assert_eq!(ran.stdout.matches("unchanged: ").count(), 2);
    let ran = user.run(&["pin", "--check", "debian", "docker"]);
    assert!(!ran.succeeded().stdout.contains("old: "));
    case.expect([&debian, &docker, &debian]);
    user.run(&["pin", "--check", "--tag", "no-such-tag", "debian"])
        .failed(&["cannot pin debian", "no-such-tag"]);
}

#[test]
fn a_platform_that_the_new_image_lacks_is_told_before_anything_is_pinned() {
    let content = Content::image(&[noise(30, 2000), noise(31, 48), noise(30, 2000)]);
    let digest = content.digest.clone();
    let registry = {
        let manifest = content.clone().answer_to(&digest);
        Faulty::start(content, move |seen, answer| {
            match (seen.path.ends_with("/manifests/moving"), seen.earlier) {
                (true, 0) => answer,
                (true, 1) => oci_pull_all_support::Answer::new(503, ""),
                (true, _) => manifest.clone(),
                _ => answer,
            }
        })
    };
    let user = new_user();
    let module = |platform: &str, digest: &str| {
        format!(
            "oci = use_extension(\"@oci_pull_all//oci:extensions.bzl\", \"oci\")\n\
             oci.pull(name = \"app\", image = \"{}/app\", platforms = [\"{platform}\"], digest = \"{digest}\")  # moving\n",
            registry.host()
        )
    };
    let pins = user.path("pins.bzl");
    fs::write(&pins, module("linux/s390x", OLD)).expect("can be written");
    user.run_with(&[("BUILD_WORKING_DIRECTORY", "/")], &["pin"])
        .failed(&["no MODULE.bazel in /", "--module"]);
    symlink("pins.bzl", user.path("MODULE.bazel")).expect("can be made");
    let below = user.path("a/b");
    fs::create_dir_all(&below).expect("can be made");
    let below = below.display().to_string();
    let pin = || {
        user.run_with(
            &[("BUILD_WORKING_DIRECTORY", &below)],
            &["pin", "app", "--plain-http", &registry.host()],
        )
    };
    pin().failed(&["cannot pin app", "tag moving"]);
    pin().failed(&["cannot pin app", "linux/s390x", "linux/amd64"]);
    let text = || fs::read_to_string(&pins).expect("can be read");
    assert_eq!(text(), module("linux/s390x", OLD));

    fs::write(&pins, module("linux/amd64", OLD)).expect("can be written");
    let ran = pin().succeeded();
    assert!(ran.stdout.contains("\n  2.00 KiB"), "{}", ran.stdout);
    assert_eq!(text(), module("linux/amd64", &digest));
    assert!(user.path("MODULE.bazel").is_symlink());
}
