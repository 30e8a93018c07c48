//! What Bazel locks of the pulls, and what it fetches anew when `MODULE.bazel` changes.

use std::fs;
use std::path::Path;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::scratch;
use oci_pull_all_support::{Images, Registry, text};
use serde_json::Value;

const UPDATE: &str = "--lockfile_mode=update";
const ERROR: &str = "--lockfile_mode=error";

/// Bazel's warning where `use_repo` names other repositories than the extension says.
const INCORRECT: &str = "reported incorrect imports";

const TOOL: [&str; 2] = ["tool", "oci_pull_all_tool"];
const ONE: [[&str; 2]; 2] = [["oci", "one"], ["oci", "one_all"]];
const TWO: [[&str; 2]; 2] = [["oci", "two"], ["oci", "two_all"]];

/// A registry with the repositories `one` and `two`, which hold images with layers of these sizes.
struct Bases {
    registry: Registry,
    one: String,
    two: String,
}

impl Bases {
    fn new(one: &[usize], two: &[usize]) -> Self {
        let mut images = Images::default();
        Self {
            one: images.add_image("one", one),
            two: images.add_image("two", two),
            registry: Registry::with(images),
        }
    }

    fn workspace(&self) -> Workspace {
        let values = [
            ("HOST", self.registry.host()),
            ("ONE", &self.one),
            ("TWO", &self.two),
        ];
        Workspace::new("lockfile", &values)
    }

    fn add(&self, repository: &str, layers: &[usize]) -> String {
        self.registry.images().add_image(repository, layers)
    }

    /// What `act` has the registry asked for.
    fn asked(&self, act: impl FnOnce()) -> Vec<String> {
        let before = self.registry.requests().len();
        act();
        let requests = self.registry.requests();
        let mut paths: Vec<_> = requests[before..].iter().map(|r| r.path.clone()).collect();
        paths.sort();
        paths
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn lock(workspace: &Workspace) -> String {
    read(&workspace.path("MODULE.bazel.lock"))
}

/// Changes the workspace's `MODULE.bazel`.
fn edit(workspace: &Workspace, change: impl FnOnce(String) -> String) {
    let path = workspace.path("MODULE.bazel");
    let (before, after) = (read(&path), change(read(&path)));
    assert_ne!(before, after);
    fs::write(&path, after).expect("can be written");
}

fn pull(name: &str, host: &str, digest: &str) -> String {
    format!("oci.pull(name = \"{name}\", digest = \"{digest}\", image = \"{host}/{name}\")\n")
}

#[test]
fn no_pull_is_in_the_lock_file_which_is_the_same_everywhere() {
    let here = Bases::new(&[1000, 2000], &[3000]);
    let there = Bases::new(&[1001], &[3001]);
    let mut workspace = here.workspace();
    workspace.enable_lock();
    workspace.succeed(&["build", UPDATE, "//:one"]);
    let locked = lock(&workspace);
    let json: Value = serde_json::from_str(&locked).expect("a lock file is JSON");
    let extensions = json["moduleExtensions"].as_object().expect("an object");
    // An extension that does not say that it is reproducible is there, so ours could be.
    let names: Vec<_> = extensions.keys().map(String::as_str).collect();
    assert_eq!(names, ["@@platforms//host:extension.bzl%host_platform"]);
    for trace in [
        "oci",
        &*workspace.directory().to_string_lossy(),
        "127.0.0.1",
    ] {
        assert!(!locked.contains(trace), "{trace}: {locked}");
    }

    workspace.succeed(&["build", UPDATE, "//..."]);
    assert_eq!(lock(&workspace), locked);
    let digest = here.add("three", &[5000]);
    let host = here.registry.host().to_owned();
    edit(&workspace, |module| module + &pull("three", &host, &digest));
    workspace.succeed(&["build", ERROR, "//..."]);
    workspace.succeed(&["build", UPDATE, "//..."]);
    assert_eq!(lock(&workspace), locked);

    // Another machine, as far as Bazel can tell: another workspace, output base, store and registry, and mirrors.
    let mut other = there.workspace();
    other.enable_lock();
    other.set_env("OCI_PULL_ALL_MIRRORS", Some("quay.io=127.0.0.1:1"));
    other.fail(&["build", ERROR, "//..."]);
    fs::write(other.path("MODULE.bazel.lock"), &locked).expect("can be written");
    other.succeed(&["build", ERROR, "//..."]);
    fs::remove_file(other.path("MODULE.bazel.lock")).expect("can be removed");
    other.succeed(&["build", UPDATE, "//..."]);
    assert_eq!(lock(&other), locked);
    let asked = here.asked(|| {
        workspace.succeed(&["build", ERROR, "//..."]);
    });
    assert_eq!(asked, [""; 0]);
}

#[test]
fn a_change_of_the_module_file_fetches_what_it_changes_and_nothing_else() {
    let images = Bases::new(&[1000, 2000], &[3000]);
    let mut workspace = images.workspace();
    workspace.succeed(&["build", "//..."]);
    // A repository that is made anew has lost it.
    let all: Vec<_> = [&ONE[..], &TWO[..], &[TOOL]]
        .concat()
        .into_iter()
        .map(|name| {
            let directory = workspace.repository(name[0], name[1]);
            (name, directory.expect("it was fetched").join("witness"))
        })
        .collect();
    let mark = || {
        for (_, witness) in &all {
            fs::write(witness, "").expect("can be written");
        }
    };
    let made_anew = || -> Vec<[&str; 2]> {
        let lost = all.iter().filter(|(_, witness)| !witness.exists());
        lost.map(|(name, _)| *name).collect()
    };
    mark();

    let new = images.add("one", &[1000, 4000]);
    let manifest = images.registry.manifest(&new);
    let blob = |descriptor: &Value| format!("/v2/one/blobs/{}", text(&descriptor["digest"]));
    let mut expected = vec![
        format!("/v2/one/manifests/{new}"),
        blob(&manifest["config"]),
        blob(&manifest["layers"][1]),
    ];
    expected.sort();
    edit(&workspace, |module| module.replace(&images.one, &new));
    let asked = images.asked(|| {
        workspace.succeed(&["build", "//..."]);
    });
    assert_eq!(asked, expected, "the other layer is in the store");
    assert_eq!(made_anew(), ONE);
    mark();

    let three = images.add("three", &[5000]);
    let host = images.registry.host().to_owned();
    edit(&workspace, |module| module + &pull("three", &host, &three));
    let asked = images.asked(|| {
        workspace.succeed(&["build", "//..."]);
    });
    assert_eq!(asked, [""; 0], "nothing stands on it yet");
    assert!(made_anew().is_empty());

    let unrelated = "\n# Nothing.\nbazel_dep(name = \"rules_shell\", version = \"0.3.0\")\n";
    let elsewhere = scratch();
    for change in [unrelated, "# Nothing else.\n"] {
        edit(&workspace, |module| module + change);
        workspace.set_env("OCI_PULL_ALL_STORE", elsewhere.path().to_str());
        let asked = images.asked(|| {
            workspace.succeed(&["build", "//..."]);
            workspace.succeed(&["shutdown"]);
            workspace.succeed(&["build", "//..."]);
        });
        assert_eq!(asked, [""; 0], "{change}");
        assert!(made_anew().is_empty(), "{change}");
    }
}

#[test]
fn mod_tidy_imports_what_is_pulled() {
    let images = Bases::new(&[1000, 2000], &[3000]);
    let mut workspace = images.workspace();
    if workspace.provide_buildozer().is_none() {
        return;
    }
    let run = workspace.succeed(&["build", "//..."]);
    assert!(!run.stderr.contains(INCORRECT), "{}", run.stderr);

    let three = images.add("three", &[5000]);
    let dev = pull("three", images.registry.host(), &three).replace("oci.", "oci_dev.");
    let extension =
        "use_extension(\"@oci_pull_all//oci:extensions.bzl\", \"oci\", dev_dependency = True)";
    edit(&workspace, |module| {
        let module = module.replace("\"one\", \"two\")", "\"two\", \"gone\")");
        format!("{module}\noci_dev = {extension}\n{dev}")
    });
    workspace.fail(&["build", "//:one"]);
    workspace.succeed(&["mod", "tidy"]);
    let tidied = read(&workspace.path("MODULE.bazel"));
    for line in [
        "use_repo(oci, \"one\", \"two\")",
        "use_repo(oci_dev, \"three\")",
    ] {
        assert!(tidied.contains(line), "{tidied}");
    }
    let run = workspace.succeed(&["build", "//...", "@three"]);
    assert!(!run.stderr.contains(INCORRECT), "{}", run.stderr);
    workspace.succeed(&["mod", "tidy"]);
    assert_eq!(read(&workspace.path("MODULE.bazel")), tidied);
}

#[test]
fn the_module_itself_is_tidy() {
    let mut workspace = Workspace::of_this_module();
    if workspace.provide_buildozer().is_none() {
        return;
    }
    let run = workspace.succeed(&["build", "//oci:all"]);
    assert!(!run.stderr.contains(INCORRECT), "{}", run.stderr);
    let before = read(&workspace.path("MODULE.bazel"));
    workspace.succeed(&["mod", "tidy"]);
    assert_eq!(read(&workspace.path("MODULE.bazel")), before);
}
