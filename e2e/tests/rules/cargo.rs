//! The program comes from the module's own sources where nothing else gives it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use oci_pull_all_e2e::bazel::Workspace;
use oci_pull_all_e2e::cache;
use oci_pull_all_support::Registry;

#[test]
fn cargo_builds_the_tool_in_the_repository_phase() {
    let registry = Registry::with_base_images();
    let image = format!("{}/library/debian", registry.host());
    let digest = registry.digest("library/debian", "stable");
    let mut workspace = Workspace::new("demo", &[("IMAGE", &image), ("DIGEST", &digest)]);

    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc can be run");
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).expect("UTF-8").trim_end());
    let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(
        || std::env::home_dir().expect("a home").join(".cargo"),
        PathBuf::from,
    );
    // What the crates became the last time, which cargo checks. One before 1.91 compiles them again.
    let crates = cache().join("crates");
    fs::create_dir_all(&crates).expect("can be made");
    for shared in [&sysroot, &cargo_home, &crates] {
        workspace.share(shared);
    }
    workspace.set_env("CARGO_BUILD_BUILD_DIR", crates.to_str());
    workspace.set_env("OCI_PULL_ALL_TOOL", None);
    workspace.set_env(
        "PATH",
        Some(&format!("{}:/usr/bin:/bin", sysroot.join("bin").display())),
    );
    workspace.set_env("CARGO_HOME", Some(&cargo_home.display().to_string()));
    // The crates are there, because the program under test was built of the same ones.
    workspace.set_env("CARGO_NET_OFFLINE", Some("true"));

    // Half of the time of the build is the optimizer's.
    workspace.set_env("CARGO_PROFILE_RELEASE_OPT_LEVEL", Some("0"));

    // What would lead the build astray.
    workspace.set_env("CARGO_BUILD_TARGET", Some("wasm32-unknown-unknown"));
    workspace.set_env("RUSTFLAGS", Some("--no-such-flag"));
    workspace.set_env("CARGO_BUILD_RUSTFLAGS", Some("--no-such-flag"));
    let above = workspace.external().with_file_name(".cargo/config.toml");
    fs::create_dir_all(above.parent().expect("a directory")).expect("can be made");
    fs::write(&above, "[build]\nrustc = \"no-such-rustc\"\n").expect("can be written");

    workspace.succeed(&["build", "//:image_layout"]);
    let built = workspace.repository("tool", "oci_pull_all_tool");
    let built = built.expect("it was fetched");
    assert!(built.join("oci-pull-all").exists());
    assert!(workspace.output("image_layout/index.json").exists());

    // It is vendored as well, for a machine without cargo.
    let vendored = "--vendor_dir=vendored";
    workspace.succeed(&["vendor", vendored, "//:image_layout"]);
    workspace.set_env("PATH", Some("/usr/bin:/bin"));
    workspace.succeed(&["clean", "--expunge"]);
    workspace.succeed(&["build", vendored, "//:image_layout"]);
}
