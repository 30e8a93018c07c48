//! New digests for what is declared, and no other change of the files.

use std::fs;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_support::Registry;
use serde_json::Value;

use super::artifacts::Pins;

const OLD: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";
const PIN: &str = "@oci_pull_all//:pin";

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

    let messages = workspace.fail(&["run", PIN, "--", "--check"]);
    assert!(messages.contains("outdated: base"), "{messages}");
    let run = workspace.succeed(&["run", PIN, "--", "base"]);
    assert!(run.stdout.contains(&digest), "{}", run.stdout);
    let text = fs::read_to_string(&module).expect("can be read");
    assert_eq!(text, followed);
    workspace.succeed(&["run", PIN, "--", "--check"]);

    let asked = registry.requests().len();
    workspace.succeed(&["build", "//:image"]);
    assert_eq!(
        registry.requests().len(),
        asked,
        "what was read to pin it is in the store"
    );
    workspace.succeed(&["build", "//:image_layout"]);
}

#[test]
fn what_is_computed_included_and_declared_by_a_repository_rule_is_pinned() {
    let other = OLD.replace('3', "1");
    let whole = OLD.replace('3', "2");
    let old = [
        ("TOOLS", OLD),
        ("DB", other.as_str()),
        ("WHOLE", whole.as_str()),
    ];
    let pins = Pins::new();
    let (workspace, pinned) = (pins.workspace(&old), pins.workspace(&[]));
    let files = ["MODULE.bazel", "security/databases.MODULE.bazel"];
    let texts = |workspace: &Workspace| {
        files.map(|file| fs::read_to_string(workspace.path(file)).expect("can be read"))
    };
    let debian = pins.registry.digest("library/debian", "stable");
    let expected = texts(&pinned).map(|text| text.replace("sha256:TODO", &debian));

    let run = workspace.bazel(&["run", PIN, "--", "--check", "--json"]);
    assert!(!run.success);
    let found: Value = serde_json::from_str(&run.stdout).expect("it prints JSON");
    let found = found.as_array().expect("a list");
    let moving: Vec<&str> = found
        .iter()
        .filter(|one| one["moves"] == true)
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(moving, ["tools", "again_one", "invalid", "db", "whole"]);

    workspace.succeed(&["run", PIN]);
    assert_eq!(texts(&workspace), expected);
    workspace.succeed(&["run", PIN, "--", "--check"]);
    workspace.succeed(&["build", "@invalid", "//:whole", "//:metadata"]);
}
