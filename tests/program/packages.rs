//! Debian packages in layers: what they bring, and what records them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use oci_pull_all_support::rootfs::Layer;
use oci_pull_all_support::{Ran, User, deb, gzip};
use tar::EntryType;

use crate::new_user;

const CONTROL: &str = "Package: openssl\nSource: openssl-src (3.0.9)\nVersion: 3.0.9-1\nArchitecture: amd64\n\
                       Maintainer: a <a@example.org>\nDescription: x\n more: of it\n .\n and more\n";
const STATUS: &str = "var/lib/dpkg/status.d";

/// An archive, compressed as its ending tells.
fn packed(ending: &str, archive: Layer) -> Vec<u8> {
    let tar = [archive.0, vec![0; 1024]].concat();
    match ending {
        ".gz" => gzip(&tar),
        ".zst" => zstd::encode_all(&tar[..], 1).expect("memory"),
        ".xz" => {
            let mut xz = Command::new("xz")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("xz can be run");
            let mut input = xz.stdin.take().expect("piped");
            input.write_all(&tar).expect("it reads");
            drop(input);
            xz.wait_with_output().expect("it ends").stdout
        }
        _ => tar,
    }
}

/// Writes a package of such archives, which has one file.
fn write_package(user: &User, name: &str, endings: [&str; 2], control: Layer) {
    let data = Layer::new()
        .directory("./", 0o755)
        .directory("./usr/", 0o755)
        .file("./usr/f", "x");
    write_package_of(user, name, endings, control, data);
}

fn write_package_of(user: &User, name: &str, endings: [&str; 2], control: Layer, data: Layer) {
    let [of_control, of_data] = endings;
    let package = deb(&[
        ("debian-binary", b"2.0\n"),
        (
            &format!("control.tar{of_control}"),
            &packed(of_control, control),
        ),
        (&format!("data.tar{of_data}"), &packed(of_data, data)),
    ]);
    fs::write(user.path(name), package).expect("can be written");
}

fn control(text: &str) -> Layer {
    Layer::new().directory("./", 0o755).file("./control", text)
}

fn layer(user: &User, arguments: &[&str]) -> Ran {
    let outputs = [
        "layer",
        "--output=layer.tar",
        "--descriptor=layer.json",
        "--unnamed-parents=unnamed.json",
        "--compression=none",
    ];
    user.run(&[&outputs, arguments].concat())
}

/// The entries of `layer.tar`: kind, mode, owner and time of each, and its path; and what is in files.
fn entries(user: &User) -> Vec<(String, String)> {
    let bytes = fs::read(user.path("layer.tar")).expect("was written");
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("whole");
        let header = entry.header();
        let number = |number: std::io::Result<u64>| number.expect("a number");
        let shown = format!(
            "{} {:o} {}:{} {} {}",
            match header.entry_type() {
                EntryType::Directory => "d",
                EntryType::Regular => "-",
                _ => "?",
            },
            header.mode().expect("a mode"),
            number(header.uid()),
            number(header.gid()),
            number(header.mtime()),
            String::from_utf8_lossy(&entry.path_bytes()),
        );
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("text");
        (shown, content)
    });
    entries.collect()
}

/// The paths of files and what is in them.
fn files(user: &User) -> Vec<(String, String)> {
    let files = entries(user).into_iter();
    let files = files.filter(|(shown, _)| shown.starts_with('-'));
    files
        .map(|(shown, content)| {
            let path = shown.rsplit(' ').next().expect("a path");
            (path.to_owned(), content)
        })
        .collect()
}

fn pair(path: &str, content: &str) -> (String, String) {
    (path.to_owned(), content.to_owned())
}

#[test]
fn a_package_brings_its_files_and_what_records_it() {
    let user = new_user();
    let digests = "0123  usr/f\n";
    let with_digests = || control(CONTROL).file("./md5sums", digests);
    let expected = [
        pair("d 755 0:0 7 var/", ""),
        pair("d 755 0:0 7 var/lib/", ""),
        pair("d 755 0:0 7 var/lib/dpkg/", ""),
        pair("d 755 0:0 7 var/lib/dpkg/status.d/", ""),
        pair("- 644 0:0 7 var/lib/dpkg/status.d/openssl", CONTROL),
        pair("- 644 0:0 7 var/lib/dpkg/status.d/openssl.md5sums", digests),
        pair("d 755 12:34 1000000000 usr/", ""),
        pair("- 644 12:34 1000000000 usr/f", "x"),
    ];
    let own = ["--mtime=7", "--owner=5:6", "--mode=0600", "--tar"];
    for ending in ["", ".gz", ".xz", ".zst"] {
        for other in ["", ".xz"] {
            write_package(&user, "p.deb", [ending, other], with_digests());
            layer(&user, &[&own[..], &["p.deb"]].concat()).succeeded();
            assert_eq!(entries(&user), expected, "{ending}");
        }
    }
    let whole = fs::read(user.path("layer.tar")).expect("was written");
    let unnamed = fs::read_to_string(user.path("unnamed.json")).expect("was written");
    for path in [
        "/var",
        "/var/lib",
        "/var/lib/dpkg",
        "/var/lib/dpkg/status.d",
    ] {
        assert!(unnamed.contains(&format!("\"{path}\"")), "{unnamed}");
    }
    assert!(!unnamed.contains("usr"), "{unnamed}");
    // The same, twice and beside others.
    layer(&user, &[&own[..], &["p.deb", "--tar", "p.deb"]].concat()).succeeded();
    assert_eq!(fs::read(user.path("layer.tar")).expect("there"), whole);
    layer(&user, &["--empty-directory=/z", "--mtime=7", "--tar=p.deb"]).succeeded();
    assert_eq!(entries(&user)[1..], expected);
    // Compressed by itself, it is the same layer.
    let outputs = ["layer", "--output=l.gz", "--descriptor=l.json", "--mtime=7"];
    user.run(&[&outputs[..], &["--tar=p.deb"]].concat())
        .succeeded();
    let bytes = fs::read(user.path("l.gz")).expect("was written");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_end(&mut unpacked)
        .expect("gzip");
    assert_eq!(unpacked, whole);
}

/// By the names that dpkg gives such files.
#[test]
fn a_record_has_the_name_that_dpkg_gives_it() {
    let user = new_user();
    let of = |architecture: &str, more: &str| {
        format!("Package: libssl3\nVersion: 1:3.0\nArchitecture: {architecture}\n{more}")
    };
    let same = "Multi-Arch: same\n";
    for (name, architecture) in [("a.deb", "amd64"), ("b.deb", "arm64")] {
        write_package(&user, name, ["", ""], control(&of(architecture, same)));
    }
    layer(&user, &["--tar=a.deb", "--tar=b.deb"]).succeeded();
    assert_eq!(
        files(&user),
        [
            pair(&format!("{STATUS}/libssl3:amd64"), &of("amd64", same)),
            pair("usr/f", "x"),
            pair(&format!("{STATUS}/libssl3:arm64"), &of("arm64", same)),
        ]
    );
    // Names and such words may be written in any way, and what is in front of and behind the stanza is not in it.
    for (text, name, kept) in [
        (of("amd64", "Multi-Arch: foreign"), "libssl3", None),
        (of("amd64", "Multi-Arch: foreign\n\n \n"), "libssl3", None),
        (
            "\npackage: g++-12\nVERSION: 1\nMULTI-ARCH : Same\nArchitecture: all\n".to_owned(),
            "g++-12:all",
            Some("package: g++-12\nVERSION: 1\nMULTI-ARCH : Same\nArchitecture: all\n"),
        ),
    ] {
        // The file may have either name.
        write_package(
            &user,
            "c.deb",
            ["", ""],
            Layer::new().file("control", &text),
        );
        layer(&user, &["--tar=c.deb"]).succeeded();
        let kept = kept.map_or_else(|| of("amd64", "Multi-Arch: foreign\n"), str::to_owned);
        let record = pair(&format!("{STATUS}/{name}"), &kept);
        assert_eq!(files(&user), [record, pair("usr/f", "x")], "{text}");
    }
    // Of two versions, one would be the files', and the other told.
    write_package(&user, "a.deb", ["", ""], control(CONTROL));
    let other = CONTROL.replace("3.0.9-1", "3.0.12-2");
    write_package(&user, "b.deb", ["", ""], control(&other));
    layer(&user, &["--tar=a.deb", "--tar=b.deb"]).failed(&[
        "\"/var/lib/dpkg/status.d/openssl\" is given twice",
        "by a.deb, and by b.deb",
    ]);
}

/// Directories are as a package or the base has them.
#[test]
fn a_record_stands_where_dpkg_looks() {
    let user = new_user();
    let data = Layer::new()
        .file("./usr/f", "x")
        .directory("./var/", 0o711)
        .directory("./var/lib/", 0o711);
    write_package_of(&user, "p.deb", ["", ""], control(CONTROL), data);
    layer(&user, &["--tar=p.deb", "--base-link", "/var/lib", "../srv"]).succeeded();
    let paths: Vec<_> = entries(&user).into_iter().map(|(shown, _)| shown).collect();
    assert_eq!(
        paths,
        [
            "d 711 12:34 1000000000 srv/",
            "d 755 0:0 0 srv/dpkg/",
            "d 755 0:0 0 srv/dpkg/status.d/",
            "- 644 0:0 0 srv/dpkg/status.d/openssl",
            "d 755 0:0 0 usr/",
            "- 644 12:34 1000000000 usr/f",
            "d 711 12:34 1000000000 var/",
        ]
    );
    layer(
        &user,
        &["--tar=p.deb", "--metadata", "**/openssl", "mode=0400"],
    )
    .succeeded();
    let paths: Vec<_> = entries(&user).into_iter().map(|(shown, _)| shown).collect();
    assert_eq!(
        paths[..5],
        [
            "d 711 12:34 1000000000 var/",
            "d 711 12:34 1000000000 var/lib/",
            "d 755 0:0 0 var/lib/dpkg/",
            "d 755 0:0 0 var/lib/dpkg/status.d/",
            "- 400 0:0 0 var/lib/dpkg/status.d/openssl",
        ]
    );
}

#[test]
fn a_package_that_cannot_be_recorded_is_refused() {
    let user = new_user();
    let refused = |control: Layer, problem: &str| {
        write_package(&user, "p.deb", [".gz", ""], control);
        for more in [&[][..], &["--empty-directory=/z"]] {
            layer(&user, &[&["--tar=p.deb"], more].concat()).failed(&[
                "p.deb is no Debian package that a layer can record",
                "build it again by dpkg-deb",
                problem,
            ]);
        }
    };
    refused(Layer::new(), "its control.tar has no file control");
    let link = Layer::new().symlink("./control", "other");
    refused(link.file("./other", CONTROL), "has no file control");
    let without = |field: &str| {
        let lines = CONTROL.split_inclusive('\n');
        lines
            .filter(|line| !line.starts_with(field))
            .collect::<String>()
    };
    for (text, problem) in [
        (String::new(), "its control has no Package"),
        (without("Package"), "its control has no Package"),
        (without("Version"), "its control has no Version"),
        (
            CONTROL.replace("3.0.9-1", " "),
            "its control has no Version",
        ),
        (
            format!("{}Multi-Arch: same\n", without("Architecture")),
            "its control has no Architecture",
        ),
        (
            format!("{}Architecture: a/b\nMulti-Arch: same\n", without("Arch")),
            "its control has the Architecture \"a/b\", which none can have",
        ),
        (
            format!("{CONTROL}\nPackage: other\nVersion: 1\n"),
            "an empty line, so more than one stanza",
        ),
        (
            CONTROL.replace("Maintainer:", "Maintainer"),
            "line 5 of its control is no field",
        ),
        (format!(" {CONTROL}"), "line 1 of its control is no field"),
        (
            CONTROL.replace("Maintainer", ""),
            "line 5 of its control is no field",
        ),
        (
            format!("{CONTROL}PACKAGE: other\n"),
            "line 10 of its control is a field that it has already",
        ),
        (
            format!("{CONTROL}Status: deinstall ok config-files\n"),
            "a Status, which only dpkg gives a package",
        ),
        (
            format!("{CONTROL}Package-Type: udeb\n"),
            "it is a udeb, which is for Debian's installer",
        ),
    ] {
        refused(control(&text), problem);
    }
    let long = "a".repeat(121);
    for name in [
        "../x",
        "a/b",
        ".",
        "-a",
        "a b",
        "a\u{e9}",
        "a.md5sums",
        &long,
    ] {
        let text = CONTROL.replace("Package: openssl", &format!("Package: {name}"));
        refused(control(&text), "its control has the Package \"");
    }
    write_package(&user, "p.udeb", ["", ""], control(CONTROL));
    layer(&user, &["--tar=p.udeb"]).failed(&["p.udeb", "it is a udeb", "take the .deb"]);
}

#[test]
fn a_control_archive_is_read_to_its_end_and_within_limits() {
    let user = new_user();
    for (name, limit) in [("control", 4), ("md5sums", 64)] {
        let large = |more: usize| {
            let tail = "x".repeat((limit << 20) - CONTROL.len() + more);
            let text = format!("{CONTROL}{tail}").replace("Version", "Large: x\nVersion");
            let archive = match name {
                "control" => Layer::new(),
                _ => control(CONTROL),
            };
            archive.file(name, &text[..(limit << 20) + more])
        };
        write_package(&user, "p.deb", [".zst", ""], large(1));
        let problem =
            format!("\"{name}\" in its control.tar has more than the limit of {limit} MiB");
        layer(&user, &["--tar=p.deb"]).failed(&["p.deb", &problem]);
        if name == "md5sums" {
            write_package(&user, "p.deb", [".zst", ""], large(0));
            layer(&user, &["--tar=p.deb"]).succeeded();
        }
    }
    let data = packed("", Layer::new().file("f", "x"));
    let write = |members: &[(&str, &[u8])]| {
        fs::write(user.path("p.deb"), deb(members)).expect("can be written");
    };
    // The last bytes of gzip are its checksum and length.
    let mut damaged = packed(".gz", control(CONTROL));
    let place = damaged.len() - 8;
    damaged[place] ^= 1;
    write(&[("control.tar.gz", &damaged), ("data.tar", &data)]);
    layer(&user, &["--tar=p.deb"]).failed(&["p.deb", "its control.tar cannot be used", "gzip"]);
    let whole = packed("", control(CONTROL));
    for (members, problems) in [
        (
            [("control.tar.gz", &b"text"[..]), ("data.tar", &data)],
            &["its control.tar cannot be used", "not a whole tar archive"][..],
        ),
        (
            [("control.tar", &whole[..700]), ("data.tar", &data)],
            &["its control.tar cannot be used", "it ends within"],
        ),
        (
            [("control.tar.lzma", &whole), ("data.tar", &data)],
            &["its control.tar.lzma has a compression that is not read"],
        ),
        (
            [("control.tar/", &whole), ("data.tar.bz2", &data)],
            &[
                "its data.tar.bz2 has a compression that is not read",
                "gzip, xz or zstd",
            ],
        ),
        (
            [("debian-binary", b"2.0\n"), ("data.tar", &data)],
            &["an archive of ar without control.tar"],
        ),
        (
            [("debian-binary", b"2.0\n"), ("control.tar", &whole)],
            &["an archive of ar without data.tar"],
        ),
        (
            [("control.tar", &deb(&[])), ("data.tar", &data)],
            &["its control.tar is no tar archive"],
        ),
    ] {
        write(&members);
        layer(&user, &["--tar=p.deb"]).failed(&[&["p.deb"], problems].concat());
    }
}
