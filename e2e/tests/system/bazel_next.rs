//! Bazel 8 and 9, as far as Bazel 7's flags bring their changes.

use std::fs;
use std::os::unix::fs::symlink;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::layout::{LAYOUTS, verify};
use oci_pull_all_support::Registry;
use oci_pull_all_support::layout::content;

/// What Bazel 8.0 and 9.0 have made the default, of what Bazel 7 has a flag for.
const FLIPPED: &[&str] = &[
    "--noenable_workspace",
    "--nolegacy_external_runfiles",
    "--incompatible_disallow_empty_glob",
    "--incompatible_no_implicit_watch_label",
    "--incompatible_use_plus_in_repo_names",
    "--experimental_platform_in_output_dir",
    "--incompatible_disable_native_repo_rules",
    "--incompatible_enable_proto_toolchain_resolution",
    "--incompatible_strict_action_env",
];

/// What Bazel may make the default some day. Bazel 7 itself, or Debian's modules, do not bear `no_rule_outputs_param`,
/// `stop_exporting_language_modules` and `noincompatible_enable_deprecated_label_apis`.
const TO_COME: &[&str] = &[
    "--incompatible_always_check_depset_elements",
    "--incompatible_auto_exec_groups",
    "--incompatible_check_testonly_for_output_files",
    "--incompatible_check_visibility_for_toolchains",
    "--incompatible_config_setting_private_default_visibility",
    "--incompatible_disable_starlark_host_transitions",
    "--incompatible_disable_target_provider_fields",
    "--incompatible_disallow_struct_provider_syntax",
    "--incompatible_disallow_unsound_directory_outputs",
    "--incompatible_fail_on_unknown_attributes",
    "--incompatible_no_implicit_file_export",
    "--incompatible_struct_has_no_methods",
    "--incompatible_top_level_aspects_require_providers",
    "--noincompatible_legacy_local_fallback",
    "--incompatible_remote_dangling_symlinks",
    "--incompatible_allow_tags_propagation",
    "--incompatible_merge_fixed_and_default_shell_env",
];

fn next(workspace: &Workspace) {
    let flags = [FLIPPED, TO_COME].concat().join(" ");
    workspace.append_rc(&format!("common {flags}\n"));
}

#[test]
fn all_kinds_of_targets_are_built_and_tested() {
    let registry = Registry::with_base_images();
    let workspace = Workspace::layouts(&registry);
    next(&workspace);
    workspace.succeed(&["build", "//..."]);
    for name in LAYOUTS {
        verify(&workspace.output(name));
    }
    workspace.succeed(&["test", "//..."]);

    let workspace = Workspace::demo(&registry);
    next(&workspace);
    workspace.succeed(&["test", "//..."]);
    verify(&workspace.output("image_layout"));
    let base = workspace.pulled("base").expect("it was fetched");
    assert!(
        base.ends_with("oci_pull_all++oci+base"),
        "the flags are in force"
    );

    let target = Registry::empty();
    let values = [
        ("SOURCE", registry.host()),
        ("DIGEST", &registry.digest("library/debian", "stable")),
        ("TARGET", target.host()),
    ];
    let workspace = Workspace::new("push", &values);
    next(&workspace);
    workspace.succeed(&["run", "//:push"]);
    assert_eq!(
        target.digest("team/app", "v1").split(':').next(),
        Some("sha256")
    );
    workspace.succeed(&["run", "@oci_pull_all//oci:oci-pull-all", "--", "--version"]);
}

/// Bazel 9 moves a repository that is reproducible into a cache that workspaces share, and leaves a link to it.
#[test]
fn a_base_may_be_a_link_into_a_cache_that_workspaces_share() {
    let registry = Registry::with_base_images();
    let [workspace, other] = [(); 2].map(|()| Workspace::demo(&registry));
    for workspace in [&workspace, &other] {
        workspace.succeed(&["build", "//:image_layout"]);
    }
    let cache = workspace.directory().join("contents");
    fs::create_dir(&cache).expect("can be made");
    let expected = content(&workspace.output("image_layout"));
    workspace.succeed(&["clean"]);
    workspace.succeed(&["shutdown"]);
    for name in ["base", "base_all"] {
        let own = workspace.pulled(name).expect("it was fetched");
        let theirs = other.pulled(name).expect("it was fetched");
        for generated in ["BUILD.bazel", "pulled.bzl"] {
            let [mine, theirs] = [&own, &theirs]
                .map(|directory| fs::read_to_string(directory.join(generated)).expect("is there"));
            assert_eq!(mine, theirs, "no workspace is told from it");
        }
        fs::rename(&own, cache.join(name)).expect("can be moved");
        symlink(cache.join(name), &own).expect("can be linked");
    }
    let before = registry.requests().len();
    workspace.succeed(&["test", "//..."]);
    assert_eq!(registry.requests().len(), before, "nothing is fetched anew");
    let layout = workspace.output("image_layout");
    verify(&layout);
    assert!(content(&layout) == expected);
    assert!(
        workspace
            .pulled("base_all")
            .is_some_and(|base| base.is_symlink())
    );
}
