//! A machine without a registry: what another one pulled is all that it needs, and is read by others.

use std::fs;
use std::process::Command;

use oci_pull_all_e2e::layout::verify;
use oci_pull_all_e2e::new_user;
use oci_pull_all_e2e::root::{Life, Root};
use oci_pull_all_support::layout::content as layout_content;
use oci_pull_all_support::{Ran, Registry, User};

/// A pull that asks nobody.
fn pull_offline(user: &User, reference: &str, options: &[&str]) -> Ran {
    let arguments = [&["pull", reference, "--output", "offline"], options].concat();
    // No proxy listens there.
    user.run_with(&[("ALL_PROXY", "http://127.0.0.1:1")], &arguments)
}

fn copy(from: &User, to: &User) {
    fs::copy(from.path("blobs.tar"), to.path("blobs.tar")).expect("can be copied");
}

#[test]
fn what_was_exported_is_pulled_without_a_registry_and_read_by_others() {
    let registry = Registry::with_base_images();
    let [debian, docker] = ["debian", "debian-docker"].map(|name| {
        let repository = format!("library/{name}");
        let digest = registry.digest(&repository, "stable");
        format!("{}/{repository}@{digest}", registry.host())
    });
    let (sender, receiver) = (new_user(), new_user());
    let both = [&*debian, &*docker];
    for (image, output) in both.iter().zip(["debian", "docker"]) {
        let pull = ["pull", image, "--output", output];
        sender.run(&pull).succeeded();
    }
    drop(registry);
    let export = [&["store", "export", "--output", "blobs.tar"], &both[..]].concat();
    sender.run(&export).succeeded();
    let bytes = fs::read(sender.path("blobs.tar")).expect("is there");
    sender.run(&export).succeeded();
    assert!(bytes == fs::read(sender.path("blobs.tar")).expect("is there"));

    copy(&sender, &receiver);
    let import = ["store", "import", "blobs.tar"];
    let ran = receiver.run(&import).succeeded();
    assert!(ran.stdout.contains("; 0 were there"), "{}", ran.stdout);
    let ran = pull_offline(&receiver, &debian, &[]).succeeded();
    assert!(ran.stderr.contains("0 B transferred"), "{}", ran.stderr);
    assert!(layout_content(&receiver.path("offline")) == layout_content(&sender.path("debian")));
    let ran = receiver.run(&import).succeeded();
    assert!(ran.stdout.contains("imported 0 blobs"), "{}", ran.stdout);
    receiver.run(&["store", "verify"]).succeeded();

    // The archive is a layout: of two images here, by their names.
    fs::create_dir(receiver.path("layout")).expect("can be made");
    let tar = Command::new("tar")
        .args(["-xf", "blobs.tar", "-C", "layout"])
        .current_dir(receiver.home())
        .status();
    assert!(tar.expect("tar can be run").success());
    verify(&receiver.path("layout"));
    let source = format!("oci-archive:blobs.tar:{debian}");
    let skopeo = Root::get()
        .command(Life::Child, &[receiver.home()], "env")
        .arg(format!("--chdir={}", receiver.home().display()))
        .args(["skopeo", "inspect", "--raw", &source])
        .output()
        .expect("skopeo can be run");
    let raw = String::from_utf8_lossy(&skopeo.stdout);
    assert!(raw.contains("manifests"), "{skopeo:?}");

    // All of a store, one image of which is not whole. What is a file of an output is kept.
    for output in ["debian", "docker"] {
        fs::remove_dir_all(sender.path(output)).expect("can be removed");
    }
    sender
        .run(&["store", "prune", "--max-size", "0"])
        .succeeded();
    sender.run(&import).succeeded();
    let all = ["store", "export", "--all", "--output", "all.tar"];
    let ran = sender.run(&all).succeeded();
    let size = sender.run(&["store", "size"]).succeeded().stdout;
    // The size is what the file system gave.
    let (blobs, _) = size
        .split_once(',')
        .expect("a number of blobs and their size");
    assert!(
        ran.stderr.contains(&format!("exported {blobs},")),
        "{}{size}",
        ran.stdout
    );
    assert!(
        bytes.len() as u64 <= fs::metadata(sender.path("all.tar")).expect("there").len() + 4096
    );
}
