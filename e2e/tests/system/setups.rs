//! A layout and its scan where Bazel is set up in a way that is not the usual one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::layout::verify;
use oci_pull_all_support::Registry;
use oci_pull_all_support::layout::content;

/// The memory file system of every Linux.
const ELSEWHERE: &str = "/dev/shm";

#[test]
fn layouts_and_scans_work_in_unusual_set_ups() {
    let registry = Registry::with_base_images();
    let output = tempfile::tempdir_in(ELSEWHERE).expect("a directory can be made");
    let workspace = Workspace::placed(
        "a workspace",
        output.path(),
        "caches",
        &[
            ("IMAGE", &format!("{}/library/debian", registry.host())),
            ("DIGEST", &registry.digest("library/debian", "stable")),
        ],
    );
    let device = |path: &Path| fs::metadata(path).expect("is there").dev();
    assert_ne!(
        device(output.path()),
        device(workspace.directory()),
        "the output is on another file system than the store"
    );

    let run = workspace.bazel_in("service", &["build", ":image_layout"]);
    assert!(run.success, "{}", run.stderr);
    let layout = workspace.output("service/image_layout");
    assert!(layout.starts_with(output.path()));
    verify(&layout);
    let expected = content(&layout);

    let disk = format!(
        "--disk_cache={}",
        workspace.directory().join("disk").display()
    );
    // Our own program needs the loader and the libraries; a test of Bazel's needs a shell.
    let libraries = [
        "--experimental_use_hermetic_linux_sandbox",
        "--sandbox_add_mount_pair=/lib",
        "--sandbox_add_mount_pair=/lib64",
    ];
    let shell = [
        &libraries[..],
        &[
            "--sandbox_add_mount_pair=/bin",
            "--sandbox_add_mount_pair=/usr",
        ],
    ]
    .concat();
    let set_ups = [
        (&[][..], "linux-sandbox"),
        (&["--nobuild_runfile_links"], "linux-sandbox"),
        (&shell, "linux-sandbox"),
        (&[&disk], "linux-sandbox"),
        (&[&disk], "disk cache hit"),
    ];
    for (options, runner) in set_ups {
        workspace.succeed(&["clean"]);
        let scan = ["test", "--nocache_test_results", "//service:scan"];
        let run = workspace.succeed(&[&scan[..], options].concat());
        assert_eq!(run.runners("OCILayout"), [runner], "{options:?}");
        assert_eq!(run.runners("TestRunner")[0], "linux-sandbox");
        verify(&layout);
        assert!(content(&layout) == expected, "{options:?}");
    }

    workspace.succeed(&["clean"]);
    let build = ["build", "//:link_1", "//:file_1"];
    let run = workspace.succeed(&[&build[..], &libraries].concat());
    assert_eq!(run.count("OCILayer"), 1);
    assert_eq!(run.count("OCILayout"), 2);
}
