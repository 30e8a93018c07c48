//! New digests for what MODULE.bazel declares, and no other change of it.

use std::fs;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_support::Registry;

const OLD: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn bazel_pins_what_it_then_builds_on() {
    let registry = Registry::with_base_images();
    let workspace = Workspace::demo(&registry);
    let digest = registry.digest("library/debian", "stable");
    let module = workspace.path("MODULE.bazel");
    let text = fs::read_to_string(&module).expect("can be read");
    let pinned = format!("\"{digest}\",");
    let followed = text.replace(&pinned, &format!("\"{digest}\",  # stable"));
    // The registry has it no more.
    fs::write(&module, followed.replace(&digest, OLD)).expect("can be written");
    workspace.fail(&["build", "//:image"]);

    let pin = "@oci_pull_all//:pin";
    let messages = workspace.fail(&["run", pin, "--", "--check"]);
    assert!(messages.contains("outdated: base"), "{messages}");
    let run = workspace.succeed(&["run", pin, "--", "base"]);
    assert!(run.stdout.contains(&digest), "{}", run.stdout);
    let text = fs::read_to_string(&module).expect("can be read");
    assert_eq!(text, followed);
    workspace.succeed(&["run", pin, "--", "--check"]);

    let asked = registry.requests().len();
    workspace.succeed(&["build", "//:image"]);
    assert_eq!(
        registry.requests().len(),
        asked,
        "what was read to pin it is in the store"
    );
    workspace.succeed(&["build", "//:image_layout"]);
}
