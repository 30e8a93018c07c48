//! All actions on a worker that has nothing but their inputs.

use std::collections::BTreeSet;
use std::fs;

use oci_pull_all_e2e::bazel::{Run, Workspace};
use oci_pull_all_e2e::checkout;
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::layout::{LAYOUTS, verify};
use oci_pull_all_e2e::remote::RemoteExecution;
use oci_pull_all_support::layout::content;
use oci_pull_all_support::{Registry, text};

const TARGETS: [&str; 4] = ["build", "//:image", "//:index", "//:image_layout"];

/// What is brought back to the client by default.
const OUTPUTS: [&str; 3] = [
    "image.manifest.json",
    "image.config.json",
    "index.index.json",
];

fn outputs(workspace: &Workspace) -> Vec<Vec<u8>> {
    let read = |name| fs::read(workspace.output(name)).expect("the output is there");
    OUTPUTS.map(read).into()
}

fn mnemonics(run: &Run) -> BTreeSet<&str> {
    let mnemonics = run.spawns.iter().map(|spawn| text(&spawn["mnemonic"]));
    mnemonics.collect()
}

/// Nothing that is asked of the worker depends on where this machine keeps things.
fn names_no_path_of_this_machine(workspace: &Workspace, run: &Run) {
    let directory = workspace.directory().display().to_string();
    let checkout = checkout().display().to_string();
    let home = std::env::var("HOME").expect("a home") + "/";
    for spawn in &run.spawns {
        // Whatever the log has: arguments, environment, inputs and outputs.
        let all = spawn.to_string();
        for path in [&directory, &checkout, &home] {
            assert!(!all.contains(path), "{path} in {all}");
        }
    }
}

#[test]
fn a_worker_makes_what_this_machine_makes() {
    let registry = DockerRegistry::with_base_images();
    let base = registry.layers(&registry.digest("library/debian", "stable"));
    let largest = base.iter().map(|(_, size)| *size).max().expect("layers");
    let engine = RemoteExecution::start();
    let local = Workspace::demo(&registry);
    local.succeed(&TARGETS);
    let expected = (outputs(&local), content(&local.output("image_layout")));

    let mut workspace = Workspace::demo(&registry);
    workspace.use_remote(&engine);
    let built = workspace.succeed(&TARGETS);
    assert_eq!(
        mnemonics(&built),
        BTreeSet::from(["OCILayer", "OCIImage", "OCIIndex", "OCILayout"])
    );
    let tested = workspace.succeed(&["test", "//:scan"]);
    assert_eq!(mnemonics(&tested), BTreeSet::from(["TestRunner"]));
    for run in [&built, &tested] {
        assert!(run.spawns.iter().all(|spawn| spawn["runner"] == "remote"));
        names_no_path_of_this_machine(&workspace, run);
    }
    verify(&workspace.output("image_layout"));
    assert!(
        (
            outputs(&workspace),
            content(&workspace.output("image_layout"))
        ) == expected
    );
    let uploaded = engine.uploaded();
    assert!(
        (largest..2 * largest).contains(&uploaded),
        "the base goes to the worker once, for the layout and for the scan: {uploaded} bytes"
    );
    assert!(
        engine.downloaded() < largest,
        "no layer of the base comes back: {} bytes",
        engine.downloaded()
    );

    let mut another = Workspace::demo(&registry);
    another.use_remote(&engine);
    let mut arguments = TARGETS.to_vec();
    arguments.push("--remote_download_outputs=all");
    let run = another.succeed(&arguments);
    for spawn in &run.spawns {
        assert_eq!(spawn["runner"], "remote cache hit", "{spawn}");
    }
    verify(&another.output("image_layout"));
    assert!((outputs(&another), content(&another.output("image_layout"))) == expected);
    assert!(engine.uploaded() < 2 * largest);
}

#[test]
fn a_worker_sees_nothing_of_the_client() {
    let registry = Registry::with_base_images();
    let engine = RemoteExecution::start();
    let mut workspace = Workspace::demo(&registry);
    workspace.use_remote(&engine);
    let package = workspace.path("paths");
    fs::create_dir(&package).expect("can be made");
    let rules = ["workspace/serve.sh", "store", "output"].map(|path| {
        let name = path.split('/').next().expect("a name");
        let path = workspace.directory().join(path);
        format!(
            "genrule(name = \"{name}\", outs = [\"{name}.txt\"], cmd = \"ls {} > $@\")\n",
            path.display()
        )
    });
    fs::write(package.join("BUILD.bazel"), rules.concat()).expect("can be written");
    for name in ["workspace", "store", "output"] {
        let messages = workspace.fail(&["build", &format!("//paths:{name}")]);
        assert!(messages.contains("No such file or directory"), "{messages}");
    }
}

#[test]
fn layouts_of_all_kinds_are_made_remotely() {
    const ARCHIVES: [&str; 4] = [
        "explicit_archive",
        "index_archive",
        "docker_archive",
        "rootfs",
    ];
    let registry = Registry::with_base_images();
    let engine = RemoteExecution::start();
    let local = Workspace::layouts(&registry);
    let mut remote = Workspace::layouts(&registry);
    remote.use_remote(&engine);
    let labels = LAYOUTS.iter().chain(&ARCHIVES);
    let labels: Vec<_> = labels.map(|name| format!("//:{name}")).collect();
    let mut arguments = vec!["build"];
    arguments.extend(labels.iter().map(String::as_str));
    local.succeed(&arguments);
    let run = remote.succeed(&arguments);
    names_no_path_of_this_machine(&remote, &run);
    for name in LAYOUTS {
        verify(&remote.output(name));
        assert!(
            content(&remote.output(name)) == content(&local.output(name)),
            "{name}"
        );
    }
    for name in ARCHIVES {
        let [ours, theirs] = [&remote, &local]
            .map(|workspace| fs::read(workspace.output(&format!("{name}.tar"))))
            .map(|archive| archive.expect("the archive is there"));
        assert!(ours == theirs, "{name}.tar");
    }
}

#[test]
fn scans_run_remotely() {
    let registry = Registry::with_base_images();
    let engine = RemoteExecution::start();
    let Some(mut workspace) = Workspace::scans(&registry) else {
        return;
    };
    workspace.use_remote(&engine);
    // Without it, Bazel gives every test the client's PATH.
    let run = workspace.succeed(&["test", "//...", "--incompatible_strict_action_env"]);
    assert!(run.spawns.iter().all(|spawn| spawn["runner"] == "remote"));
    names_no_path_of_this_machine(&workspace, &run);
    for test in ["fails_clamav_base", "fails_clamav_local"] {
        let messages = workspace.fail(&["test", &format!("//:{test}")]);
        assert!(messages.contains("FAIL: //:fails_clamav"), "{messages}");
    }
}
