//! Root file systems of images, those that mean harm among them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use oci_pull_all_support::layout::add_blob;
use oci_pull_all_support::rootfs::{
    Layer, changed_image, image, listing, shell, unpack, write_layout,
};
use oci_pull_all_support::{digest, program};
use tar::EntryType;

use crate::new_user;

#[test]
fn nothing_is_written_outside() {
    let user = new_user();
    fs::create_dir(user.path("outside")).expect("can be made");
    fs::write(user.path("outside/secret"), "secret").expect("can be written");
    let outside = user.path("outside").display().to_string();
    let before = listing(&user, "outside", " %T@ %n");

    let links = Layer::new()
        .symlink("absolute", &outside)
        .symlink("relative", "../outside")
        .symlink("root", "/")
        .symlink("up", "../../../../../..");
    let through = Layer::new()
        .file("absolute/a", "a")
        .file("relative/b", "b")
        .file("root/c", "c")
        .file("up/d", "d")
        .file("/e", "e")
        .file("//f", "f");
    image(&user, &[links, through]);
    unpack(&user).succeeded();
    assert_eq!(listing(&user, "outside", " %T@ %n"), before);
    let inside = format!("rootfs{outside}/a");
    for path in [
        &inside,
        "rootfs/outside/b",
        "rootfs/c",
        "rootfs/d",
        "rootfs/e",
        "rootfs/f",
    ] {
        let path = user.path(path);
        assert!(
            path.symlink_metadata().is_ok_and(|found| found.is_file()),
            "{path:?}"
        );
    }
    let link = fs::read_link(user.path("rootfs/absolute")).expect("a link");
    assert_eq!(link.display().to_string(), outside);

    for (layer, problems) in [
        (Layer::new().file("../x", "x"), ["\"../x\"", "'..'"]),
        (
            Layer::new().file("a/../../x", "x"),
            ["\"a/../../x\"", "'..'"],
        ),
        (Layer::new().file("", "x"), ["\"\"", "no name"]),
        (
            Layer::new().hard_link("h", "../outside/secret"),
            ["\"h\"", "hard link"],
        ),
        (
            Layer::new().hard_link("h", &format!("{outside}/secret")),
            ["\"h\"", "hard link"],
        ),
        (
            Layer::new()
                .symlink("l", &outside)
                .hard_link("h", "l/secret"),
            ["\"h\"", "hard link"],
        ),
        (
            Layer::new()
                .symlink("a", "b")
                .symlink("b", "a")
                .file("a/x", "x"),
            ["\"a/x\"", "circle"],
        ),
        (
            Layer::new().file("a", "a").file("a/x", "x"),
            ["\"a/x\"", "not a directory"],
        ),
    ] {
        fs::remove_dir_all(user.path("rootfs")).ok();
        let digest = digest(&layer.0);
        image(&user, &[layer]);
        unpack(&user).failed(&[&digest, problems[0], problems[1]]);
    }
    assert_eq!(listing(&user, "outside", " %T@ %n"), before);
}

/// A record of a pax header.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let digits = (1..20)
        .find(|digits| (rest.len() + digits).to_string().len() == *digits)
        .expect("it has a length");
    format!("{}{rest}", rest.len() + digits).into_bytes()
}

#[test]
fn a_failure_leaves_nothing() {
    let user = new_user();
    let path = record("path", &"n".repeat(300));
    let layer = Layer::new()
        .file("a/b", "b")
        .symlink("l", "a")
        .add(EntryType::XHeader, "pax", 0, "", &path)
        .file("x", "x");
    image(&user, &[layer]);
    unpack(&user).failed(&["cannot write the root file system", "name too long"]);
    assert_eq!(listing(&user, "rootfs", ""), "");
}

#[test]
#[ignore = "it is a fifth of the work of all tests; e2e/test runs it"]
fn memory_is_bounded_whatever_links_make_of_names() {
    let user = new_user();
    let target = record("linkpath", &format!("{}/", "d".repeat(255)).repeat(15));
    let mut layer = Layer::new()
        .add(EntryType::XHeader, "pax", 0, "", &target)
        .symlink("l", "");
    for number in 0..145_000 {
        layer = layer.file(&format!("l/{number}"), "");
    }
    image(&user, &[layer]);
    unpack(&user).failed(&["names and attributes", "512 MiB"]);
}

#[test]
fn an_unpacked_root_is_for_a_plain_user() {
    let user = new_user();
    changed_image(&user);
    unpack(&user).succeeded();
    let mode = |path: &str| {
        let path = user.path("rootfs").join(path);
        path.symlink_metadata().expect("there").permissions().mode() & 0o7777
    };
    assert_eq!(mode("setuid"), 0o711);
    assert_eq!(mode("unreadable"), 0o600);
    assert_eq!(mode("etc"), 0o750);
    assert_eq!(mode("closed"), 0o711);
    assert_eq!(mode("implied"), 0o755);
    let metadata = fs::metadata(user.path("rootfs/etc/kept")).expect("there");
    assert_eq!(metadata.mtime(), 1_000_000_000);
    assert_eq!(
        shell(
            &user,
            "cd rootfs; find . -mindepth 1 | LC_ALL=C sort | tr '\\n' ' '"
        )
        .trim_end(),
        "./becomes_directory ./becomes_file ./closed ./closed/y ./dangling ./etc ./etc/changed \
         ./etc/kept ./implied ./implied/x ./lib ./opaque ./opaque/new ./second ./setuid \
         ./unreadable ./usr ./usr/lib ./usr/lib/placed"
    );

    unpack(&user).failed(&["rootfs", "not empty"]);
    user.run(&["layout", "rootfs", "layout"])
        .failed(&["--tar <FILE>", "--output <DIR>"]);
    let to = |flag: &str, path: &str| user.run(&["layout", "rootfs", "layout", flag, path]);
    fs::create_dir(user.path("empty")).expect("can be made");
    to("--output", "empty").succeeded();
    assert_eq!(listing(&user, "empty", ""), listing(&user, "rootfs", ""));
}

#[test]
fn an_archived_root_has_all_attributes_and_is_the_same_every_time() {
    let user = new_user();
    let value = b"\x01\0\0\x02\n=\n\xff";
    let record = [b"45 SCHILY.xattr.security.capability=", &value[..], b"\n"].concat();
    assert_eq!(record.len(), 45);
    let capability = Layer::new()
        .add(EntryType::XHeader, "pax", 0, "", &record)
        .add(EntryType::Regular, "ping", 0o4755, "", b"program");
    let devices = Layer::new()
        .directory("dev/", 0o755)
        .add(EntryType::Char, "dev/null", 0o666, "", b"")
        .add(EntryType::Block, "dev/sda", 0o660, "", b"")
        .add(EntryType::Fifo, "fifo", 0o600, "", b"")
        .file("b", "b")
        .hard_link("a", "b");
    image(&user, &[capability, devices]);
    let archive = |name: &str| {
        user.run(&["layout", "rootfs", "layout", "--tar", name])
            .succeeded();
        fs::read(user.path(name)).expect("there")
    };
    let bytes = archive("one.tar");
    assert_eq!(archive("two.tar"), bytes);
    assert!(bytes.windows(value.len()).any(|window| window == value));
    let listed = shell(&user, "tar --numeric-owner --utc -tvf one.tar | tr -s ' '");
    assert_eq!(
        listed,
        "\
-rw-r--r-- 12/34 1 2001-09-09 01:46 a
hrw-r--r-- 12/34 0 2001-09-09 01:46 b link to a
drwxr-xr-x 12/34 0 2001-09-09 01:46 dev/
crw-rw-rw- 12/34 0,0 2001-09-09 01:46 dev/null
brw-rw---- 12/34 0,0 2001-09-09 01:46 dev/sda
prw------- 12/34 0 2001-09-09 01:46 fifo
-rwsr-xr-x 12/34 7 2001-09-09 01:46 ping
"
    );

    unpack(&user).succeeded();
    assert_eq!(
        shell(&user, "ls rootfs rootfs/dev | tr '\\n' ' '"),
        "rootfs: a b dev ping  rootfs/dev: "
    );
    let inode = |path: &str| fs::metadata(user.path(path)).expect("there").ino();
    assert_eq!(inode("rootfs/a"), inode("rootfs/b"));
}

/// containerd gives the file the owner and the mode that a link to it says, and so takes capabilities away.
#[test]
fn a_hard_link_says_what_its_file_is() {
    let user = new_user();
    let layer = Layer::new()
        .add(
            EntryType::XHeader,
            "pax",
            0,
            "",
            &[
                record("SCHILY.xattr.user.a", "1"),
                record("SCHILY.xattr.security.capability", "c"),
            ]
            .concat(),
        )
        .file("f", "content")
        .add(EntryType::Link, "setuid", 0o4755, "f", b"");
    image(&user, &[layer]);
    user.run(&["layout", "rootfs", "layout", "--tar", "root.tar"])
        .succeeded();
    user.run(&["mtree", "root.tar", "--output", "list"])
        .succeeded();
    let list = fs::read_to_string(user.path("list")).expect("there");
    assert_eq!(list.matches(" mode=4755 ").count(), 2, "{list}");
    assert_eq!(list.matches(" xattr.user.a=").count(), 2, "{list}");
    assert!(!list.contains("security.capability"), "{list}");
}

#[test]
fn a_layer_that_is_another_is_not_read() {
    let user = new_user();
    let layer = Layer::new().file("f", "content");
    let (digest, data) = (digest(&layer.0), layer.0.clone());
    let blob = user.path("layout/blobs").join(digest.replace(':', "/"));
    image(&user, &[layer]);
    let mut changed = data.clone();
    changed[512] ^= 1;
    fs::write(&blob, &changed).expect("can be written");
    unpack(&user).failed(&[&digest, "its blob has the digest sha256:"]);
    user.run(&["layout", "rootfs", "layout", "--tar", "root.tar"])
        .failed(&[&digest]);
    assert!(!user.path("root.tar").exists());
    fs::write(&blob, &data[1..]).expect("can be written");
    unpack(&user).failed(&[&digest, "1023 bytes", "1024"]);
    fs::remove_file(&blob).expect("there");
    unpack(&user).failed(&[&digest, "is not in the layout"]);

    let layout = user.path("layout");
    let note = add_blob(&layout, "text/plain", b"a note");
    write_layout(&layout, &[note], &[]);
    unpack(&user).failed(&["not a file system layer", "text/plain"]);
    image(&user, &[Layer::new().file("f", "content")]);
    user.run(&[
        "layout",
        "rootfs",
        "layout",
        "--platform",
        "linux/arm64",
        "--output",
        "x",
    ])
    .failed(&["no image for linux/arm64", "linux/amd64"]);
}

/// A shared library for this machine: Rust's own.
fn library() -> Vec<u8> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = sysroot.expect("rustc can be run").stdout;
    let sysroot = String::from_utf8(sysroot).expect("UTF-8");
    let targets = Path::new(sysroot.trim_end()).join("lib/rustlib");
    let targets = fs::read_dir(targets).expect("Rust has targets");
    let libraries = targets.filter_map(|target| fs::read_dir(target.ok()?.path().join("lib")).ok());
    let mut files = libraries
        .flatten()
        .map(|file| file.expect("can be read").path());
    let library = files.find(|file| file.extension().is_some_and(|ending| ending == "so"));
    fs::read(library.expect("one is shared")).expect("can be read")
}

#[test]
fn a_file_is_what_its_path_leads_to() {
    let user = new_user();
    let dynamic = program("x", Some("/lib64/ld-linux.so.2"));
    let executable = |layer: Layer, name: &str, data: &[u8]| {
        layer.add(EntryType::Regular, name, 0o755, "", data)
    };
    let first = Layer::new()
        .file("etc/gone", "gone")
        .file("etc/kept", "kept")
        .symlink("usr/kept", "../alias")
        .symlink("alias", "/etc/kept")
        .symlink("loop", "loop")
        .hard_link("etc/same", "etc/kept");
    let first = executable(first, "bin/old", b"old");
    let second = Layer::new()
        .file("etc/.wh.gone", "")
        .symlink("bin/new", "hello");
    let second = executable(second, "bin/hello", &program("hello", None));
    let second = executable(second, "bin/script", b"#!/bin/sh -e\necho\n");
    let second = executable(second, "bin/dynamic", &dynamic);
    let mut foreign = program("x", None);
    foreign[18] = 8;
    let second = executable(second, "bin/foreign", &foreign);
    let [object, core] = [1, 4].map(|kind| {
        let mut part = program("x", None);
        part[16] = kind;
        part
    });
    let second = executable(second, "bin/object", &object);
    let second = executable(second, "bin/core", &core);
    let second = executable(second, "bin/library", &library());
    let second = executable(second, "bin/old", b"new");
    let second = executable(second, "bin/empty", b"");
    let second = executable(second, "bin/nobody", b"#! \n");
    let second = executable(second, "bin/cut", b"\x7fELF\x02");
    image(&user, &[first, second]);
    let take = |path: &str, more: &[&str]| {
        let arguments = [
            "layout", "file", "layout", "--output", "taken", "--path", path,
        ];
        user.run(&[&arguments[..], more].concat())
    };
    for (path, content) in [
        ("/etc/kept", "kept"),
        ("usr/kept", "kept"),
        ("/usr/../alias", "kept"),
        ("etc/same", "kept"),
        ("bin/old", "new"),
    ] {
        take(path, &[]).succeeded();
        let taken = fs::read(user.path("taken")).expect("was written");
        assert_eq!(String::from_utf8_lossy(&taken), content, "{path}");
    }
    for (path, problem) in [
        ("etc/gone", "no such file"),
        ("etc/nothing/at/all", "no such file"),
        ("etc", "a directory"),
        ("", "a directory"),
        ("etc/kept/x", "not a directory"),
        ("/etc/kept/", "leave the slash at its end out"),
        ("/alias/", "leave the slash at its end out"),
        ("/etc/", "a directory"),
        ("loop", "in a circle"),
    ] {
        take(path, &[]).failed(&["out of the image", problem]);
    }
    take("bin/new", &["--program"]).succeeded();
    let said = Command::new(user.path("taken"))
        .output()
        .expect("can be run");
    assert_eq!(said.stdout, b"hello");
    for (path, problem) in [
        ("bin/dynamic", "dynamic loader /lib64/ld-linux.so.2"),
        ("bin/foreign", "another processor (ELF machine 8)"),
        ("bin/script", "a script for /bin/sh -e"),
        ("bin/object", "an object file"),
        ("bin/core", "a core dump"),
        ("bin/library", "a library"),
        ("bin/old", "no program of Linux (ELF)\n"),
        ("bin/empty", "no program of Linux (ELF)\n"),
        ("bin/nobody", "no program of Linux (ELF)\n"),
        ("bin/cut", "(ELF) that cannot be read"),
        ("etc/kept", "not executable"),
    ] {
        take(path, &["--program"]).failed(&["out of the image", problem]);
    }
    take("bin/dynamic", &[]).succeeded();
}
