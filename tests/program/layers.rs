//! Layers of archives that other people's tar wrote.

use std::fs;
use std::process::Command;

use oci_pull_all_support::{User, digest};

use crate::new_user;

/// Runs a shell script in the user's home.
fn prepare(user: &User, script: &str) {
    let status = Command::new("sh")
        .args(["-euc", script])
        .current_dir(user.home())
        .status();
    assert!(status.expect("sh can be run").success(), "{script}");
}

fn layer(user: &User, arguments: &[&str]) -> oci_pull_all_support::Ran {
    let outputs = [
        "layer",
        "--output",
        "layer.tar.gz",
        "--descriptor",
        "layer.json",
    ];
    user.run(&[&outputs, arguments].concat())
}

#[test]
fn a_sparse_file_keeps_its_content_and_what_follows() {
    let user = new_user();
    prepare(
        &user,
        "mkdir d; echo x >d/f; truncate -s 1M sparse; echo abc >>sparse; tar --format=gnu -cSf sparse.tar sparse d",
    );
    layer(&user, &["--tar", "sparse.tar", "--empty-directory", "/z"]).succeeded();
    prepare(
        &user,
        "mkdir out; tar -xzf layer.tar.gz -C out; cmp sparse out/sparse; cmp d/f out/d/f; test -d out/z",
    );
}

#[test]
fn what_is_no_archive_is_refused() {
    let user = new_user();
    prepare(
        &user,
        "echo text >text; : >empty; mkdir d; echo abcd >d/f; tar -cf whole.tar d; head -c 1200 whole.tar >cut.tar; tar -cJf xz.tar d",
    );
    for archive in ["text", "empty", "cut.tar", "xz.tar"] {
        layer(&user, &["--tar", archive]).failed(&[
            archive,
            "is not a whole tar archive",
            "gzip or zstd",
        ]);
    }
    for archive in ["text", "cut.tar", "xz.tar"] {
        layer(&user, &["--tar", archive, "--empty-directory", "/z"])
            .failed(&[archive, "is not a whole tar archive"]);
    }
    layer(&user, &["--tar", "whole.tar"]).succeeded();
    prepare(&user, "gzip -dc layer.tar.gz | cmp - whole.tar");
}

#[test]
fn what_is_no_file_is_refused() {
    let user = new_user();
    prepare(&user, "mkfifo pipe");
    for arguments in [&["--file", "/pipe", "pipe"][..], &["--tar", "pipe"]] {
        layer(&user, arguments).failed(&["cannot open pipe", "it is not a regular file"]);
    }
}

#[test]
fn sources_share_directories_and_nothing_else() {
    let user = new_user();
    prepare(
        &user,
        "mkdir opt; echo x >opt/x; echo f >f; tar -cf below.tar opt; tar -cf again.tar opt/x; tar -cf f.tar f; mkdir g; mv f g; cp -r g f; tar -cf dir.tar f; rm -r f; printf f >f",
    );
    layer(&user, &["--tar", "below.tar", "--file", "/opt", "f"])
        .failed(&["\"/opt\" is given twice", "by f, and by below.tar"]);
    layer(&user, &["--tar", "again.tar", "--symlink", "/opt", "/usr"]).failed(&[
        "/opt/x",
        "/opt",
        "not a directory",
    ]);
    layer(&user, &["--tar", "below.tar", "--tar", "again.tar"]).failed(&[
        "\"/opt/x\" is given twice",
        "by below.tar, and by again.tar",
    ]);
    layer(&user, &["--tar", "f.tar", "--tar", "dir.tar"]).failed(&["\"/f\" is given twice"]);
    layer(
        &user,
        &[
            "--tar",
            "below.tar",
            "--tar",
            "f.tar",
            "--empty-directory",
            "/opt",
        ],
    )
    .succeeded();
}

#[test]
fn names_are_never_altered() {
    let user = new_user();
    prepare(
        &user,
        "touch \"$(printf 'caf\\351')\"; tar -cf latin1.tar caf*; mkdir a; tar -cf up.tar -P a/../a",
    );
    layer(&user, &["--tar", "latin1.tar", "--empty-directory", "/z"])
        .failed(&["latin1.tar", "not UTF-8"]);
    layer(&user, &["--tar", "up.tar"]).failed(&["a path without '..'"]);
    fs::write(user.path("-f"), "x").expect("can be written");
    layer(&user, &["--file", "-x", "-f"]).succeeded();
}

/// The arguments that merge an image of the layer `layer.tar.gz`, which is still to be given.
fn merge_of_one_layer(user: &User) -> Vec<&'static str> {
    prepare(user, "echo content >f");
    layer(user, &["--file", "/f", "f"]).succeeded();
    let image = [
        "image",
        "--platform",
        "linux/amd64",
        "--layer",
        "layer.json",
    ];
    let outputs = [
        "--manifest",
        "manifest",
        "--config",
        "config",
        "--descriptor",
        "image.json",
    ];
    user.run(&[&image[..], &outputs].concat()).succeeded();
    vec![
        "layout",
        "merge",
        "--root",
        "image.json",
        "--local-file",
        "manifest",
        "--local-file",
        "config",
    ]
}

/// Makes the layout `layout` of an image of one layer; returns the arguments that made it.
fn layout_of_one_layer(user: &User) -> Vec<&'static str> {
    let mut merge = merge_of_one_layer(user);
    merge.extend(["--local", "layer.json", "layer.tar.gz"]);
    merge.extend(["--output", "layout"]);
    user.run(&merge).succeeded();
    merge
}

#[test]
fn an_archived_layout_holds_only_what_was_said() {
    let user = new_user();
    let merge = layout_of_one_layer(&user);
    user.run(&merge).failed(&["layout is not empty"]);
    let archive = [
        "layout",
        "archive",
        "layout",
        "--format",
        "oci",
        "--output",
        "layout.tar",
    ];
    user.run(&archive).succeeded();

    let mut data = fs::read(user.path("layer.tar.gz")).expect("there");
    let blob = format!("layout/blobs/{}", digest(&data).replace(':', "/"));
    let middle = data.len() / 2;
    data[middle] ^= 1;
    fs::remove_file(user.path(&blob)).expect("there");
    fs::write(user.path(&blob), data).expect("can be written");
    user.run(&archive)
        .failed(&[&blob, "was given as sha256:", "but it has sha256:"]);
}

#[test]
fn a_blob_of_the_base_that_lost_bytes_is_not_linked() {
    let user = new_user();
    let mut merge = merge_of_one_layer(&user);
    let data = fs::read(user.path("layer.tar.gz")).expect("there");
    let blob = format!("base/blobs/{}", digest(&data).replace(':', "/"));
    fs::create_dir_all(user.path("base/blobs/sha256")).expect("can be made");
    fs::write(user.path(&blob), &data).expect("can be written");
    merge.extend(["--blob", &blob, "--output"]);
    user.run(&[&merge[..], &["whole"]].concat()).succeeded();

    fs::write(user.path(&blob), &data[1..]).expect("can be written");
    user.run(&[&merge[..], &["short"]].concat())
        .failed(&[&blob, "bytes"]);
}

#[test]
fn a_blob_that_is_no_file_is_a_fault() {
    let user = new_user();
    layout_of_one_layer(&user);
    user.run(&["verify", "layout"]).succeeded();
    let layer = digest(&fs::read(user.path("layer.tar.gz")).expect("there"));
    let blob = format!("layout/blobs/{}", layer.replace(':', "/"));
    for (script, problem) in [
        ("mkfifo", "it is not a regular file"),
        ("ln -s /dev/zero", "it is not a regular file"),
        (
            "ln -s ../nothing",
            "it is a link to ../nothing, which is not there",
        ),
    ] {
        prepare(&user, &format!("rm {blob}; {script} {blob}"));
        user.run(&["verify", "layout"]).failed(&[&layer, problem]);
    }
    prepare(&user, "rm layout/index.json; mkfifo layout/index.json");
    user.run(&["verify", "layout"])
        .failed(&["index.json", "it is not a regular file"]);
}

#[test]
fn an_archive_is_written_whole_and_over_files_alone() {
    let user = new_user();
    layout_of_one_layer(&user);
    prepare(&user, "mkfifo pipe; echo old >archive.tar");
    let archive = ["layout", "archive", "layout", "--format", "oci", "--output"];
    let rootfs = ["layout", "rootfs", "layout", "--tar"];
    for command in [&archive[..], &rootfs] {
        user.run(&[command, &["pipe"]].concat())
            .failed(&["cannot write pipe", "not a regular file"]);
    }
    let layer = digest(&fs::read(user.path("layer.tar.gz")).expect("there"));
    let blob = format!("layout/blobs/{}", layer.replace(':', "/"));
    prepare(&user, &format!("echo wrong >{blob}"));
    user.run(&[&archive[..], &["archive.tar"]].concat())
        .failed(&[&blob]);
    assert_eq!(fs::read(user.path("archive.tar")).expect("there"), b"old\n");
}
