//! Root file systems of images, those that mean harm among them.

use std::fs;

use oci_pull_all_e2e::docker_registry::DockerRegistry;
use oci_pull_all_e2e::new_user;
use oci_pull_all_support::rootfs::{changed_image, listing, shell, unpack};
use oci_pull_all_support::{User, text};
use serde_json::{Value, json};

fn peer(user: &User, program: &str, arguments: &[&str]) {
    let output = oci_pull_all_e2e::run_in_root(user, program, arguments);
    assert!(output.status.success(), "{program}: {output:?}");
}

/// Unpacks the image in `layout`, which has the name `latest`, in all ways, and compares.
fn agree_with_umoci(user: &User) {
    peer(
        user,
        "umoci",
        &["unpack", "--image", "layout:latest", "bundle"],
    );
    user.run(&["layout", "rootfs", "layout", "--tar", "root.tar"])
        .succeeded();
    shell(user, "mkdir tar; tar --numeric-owner -xpf root.tar -C tar");
    // The links of a directory are its file system's affair.
    let theirs = listing(user, "bundle/rootfs", " %s %n");
    let ours = listing(user, "tar", " %s %n");
    let without_size_of_directories = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| match line.split_once(" d ") {
            Some((path, rest)) => {
                let rest: Vec<&str> = rest.split(' ').take(2).collect();
                format!("{path} d {}", rest.join(" "))
            }
            None => line.to_owned(),
        });
        lines.collect()
    };
    let (ours, theirs) = (
        without_size_of_directories(&ours),
        without_size_of_directories(&theirs),
    );
    assert_same(&ours, &theirs);
    let times = "find . ! -type d -printf '%P %T@\\n' | LC_ALL=C sort";
    assert_eq!(
        shell(user, &format!("cd tar; {times}")),
        shell(user, &format!("cd bundle/rootfs; {times}"))
    );

    unpack(user).succeeded();
    let script = |directory: &str| {
        format!(
            "cd {directory}; find . ! -type p ! -type c ! -type b -printf '%P %y %l\\n' | LC_ALL=C sort; \
             find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"
        )
    };
    let lines = |directory: &str| -> Vec<String> {
        let text = shell(user, &script(directory));
        text.lines().map(str::to_owned).collect()
    };
    assert_same(&lines("rootfs"), &lines("tar"));
}

/// Shows what differs, which is little of much.
fn assert_same(ours: &[String], theirs: &[String]) {
    let lacks = |one: &[String], other: &[String]| -> Vec<String> {
        let lines = one.iter().filter(|line| !other.contains(line));
        lines.take(10).cloned().collect()
    };
    assert!(
        ours == theirs,
        "only ours: {:#?}\nonly theirs: {:#?}",
        lacks(ours, theirs),
        lacks(theirs, ours)
    );
}

#[test]
fn umoci_unpacks_the_same() {
    let user = new_user();
    changed_image(&user);
    agree_with_umoci(&user);
}

#[test]
fn peers_unpack_the_same_from_a_whole_debian() {
    let registry = DockerRegistry::with_base_images();
    let index = registry.digest("library/debian", "stable");
    let digest = registry.manifest(&index)["manifests"][0]["digest"].clone();
    let user = new_user();
    let reference = format!("{}/library/debian@{}", registry.host(), text(&digest));
    user.run(&["pull", &reference, "--output", "layout"])
        .succeeded();
    let path = user.path("layout/index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    index["manifests"][0]["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    fs::write(&path, index.to_string()).expect("can be written");
    agree_with_umoci(&user);

    peer(
        &user,
        "crane",
        &["export", "--insecure", &reference, "crane.tar"],
    );
    shell(
        &user,
        "mkdir crane; tar --numeric-owner -xpf crane.tar -C crane",
    );
    let lines = |directory: &str| -> Vec<String> {
        let text = listing(&user, directory, "");
        text.lines().map(str::to_owned).collect()
    };
    assert_same(&lines("tar"), &lines("crane"));
}
