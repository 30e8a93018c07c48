//! Programs in images do what `bazel run` has them do.

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::engine::{Engine, PodmanStore};

#[test]
fn a_program_says_in_an_image_what_it_says_in_bazel() {
    let registry = DockerRegistry::with_base_images();
    let workspace = Workspace::on_debian("programs", &registry);
    // As Bazel 8 has it.
    workspace.append_rc("build --nolegacy_external_runfiles\n");
    workspace.succeed(&["build", "//:layout"]);
    let engine = Engine::podman(PodmanStore::Overlay);
    let layout = format!("oci:{}:latest", workspace.output("layout").display());
    let copied = engine
        .command(&[workspace.directory()], "skopeo")
        .args([
            "copy",
            "--quiet",
            &layout,
            "containers-storage:localhost/programs:latest",
        ])
        .output()
        .expect("skopeo can be run");
    assert!(copied.status.success(), "{copied:?}");
    for program in ["cc", "java", "py", "sh"] {
        let run = workspace.succeed(&["run", &format!("//:{program}"), "--", "word"]);
        for place in ["app", "layers"] {
            let path = format!("/{place}/{program}");
            let run_in = ["run", "--rm", "--network=none", "localhost/programs"];
            let said = engine.asked(&[&run_in[..], &[&path, "word"]].concat());
            assert_eq!(said, run.stdout, "{path}");
        }
    }
}
